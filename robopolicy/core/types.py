"""What flows between the parts: observations, windows, batches, steps and episodes.

Axis letters, once for the whole project: B batch, N candidates, H chunk, T history, A action, S state, E
ensemble, K bins, C h w image. Physical units at every public boundary. The containers hold numpy arrays in
data, control and real, and torch tensors inside learners; this module itself needs numpy only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

Array = Any  # a numpy array outside learners, a torch tensor inside; shapes are given where one is declared


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a policy sees. The leading axes are `[B, T]` for a policy, `[B]` or none where one frame is meant.

    Args:
        state: `[B T S]` float32, in the units of the spec.
        images: camera name to `[B T C h w]` uint8.
        text: one instruction per row.
        goal: an observation to reach.
        cond: further conditions by name (advantage, return, task id ...); a missing name is the explicit
            null.
    """

    state: Array
    images: Mapping[str, Array] = field(default_factory=dict)
    text: tuple[str, ...] | None = None
    goal: Observation | None = None
    cond: Mapping[str, Array] = field(default_factory=dict)

    def map(self, function: Callable[[Array], Array]) -> Observation:
        """Apply `function` to every array; text is kept."""
        return Observation(
            state=function(self.state),
            images={name: function(image) for name, image in self.images.items()},
            text=self.text,
            goal=None if self.goal is None else self.goal.map(function),
            cond={name: function(value) for name, value in self.cond.items()},
        )

    def rows(self, index: Any) -> Observation:
        """The rows `index` (a slice or an integer array on the first axis), text included."""
        taken = self.map(lambda array: array[index])
        if self.text is None:
            return taken
        text = (
            self.text[index]
            if isinstance(index, slice)
            else tuple(self.text[int(i)] for i in np.asarray(index))
        )
        return replace(taken, text=text)


@dataclass(frozen=True, kw_only=True)
class Window:
    """What a learner asks of an episode around the control step t.

    Args:
        obs: offsets of the observations, oldest first, for example `(-1, 0)`.
        chunk: actions `t + chunk[0] .. t + chunk[1] - 1`; None where actions are absent (video).
        bootstrap: offset of `next_obs`; rewards are discounted and summed up to it. None for imitation.
        discount: gamma per control step.
        mc_return: also give the discounted return to go as `extra["mc_return"]`.
        sequence: keep a time axis of this many steps: obs `[B L+1 ..]`, reward and terminated `[B L]`.
        columns: names of further columns (annotations), as `extra[name]`.
    """

    obs: tuple[int, ...] = (0,)
    chunk: tuple[int, int] | None = (0, 1)
    bootstrap: int | None = None
    discount: float = 0.99
    mc_return: bool = False
    sequence: int | None = None
    columns: tuple[str, ...] = ()

    @classmethod
    def imitation(cls, *, obs_steps: int, horizon: int) -> Window:
        """What cloning asks: the last `obs_steps` observations and the `horizon` actions from now on."""
        return cls(obs=tuple(range(1 - obs_steps, 1)), chunk=(0, horizon))


@runtime_checkable
class Noise(Protocol):
    """Random numbers keyed by row: the same row gets the same noise, whatever batch it travels in."""

    def normal(self, *shape: int) -> Array:
        """Standard normal of `shape`; the first axis is the batch."""
        ...

    def uniform(self, *shape: int) -> Array:
        """Uniform on [0, 1) of `shape`; the first axis is the batch."""
        ...


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a learner learns from.

    Args:
        obs: rows of observations.
        action: `[B H A]` in the units of the spec; padded steps repeat the last action.
        is_pad: `[B H]` bool, true beyond the episode's end.
        reward: `[B]`, discounted and summed over the bootstrap span.
        discount: `[B]`, gamma^span, 0 after termination, so that a target is always `reward + discount *
            value`. A time limit is not termination.
        next_obs: the observation to bootstrap from.
        extra: annotation columns by name.
        index: `[B]` int64, the rows of the dataset, so that a buffer can refresh what was said of them.
        views: the other windows of a learner that declares several; `batch[name]` gives one.
        noise: the trainer's random numbers for these rows.
    """

    obs: Observation
    action: Array
    is_pad: Array
    reward: Array | None = None
    discount: Array | None = None
    next_obs: Observation | None = None
    extra: Mapping[str, Array] = field(default_factory=dict)
    index: Array | None = None
    views: Mapping[str, Batch] = field(default_factory=dict)
    noise: Noise | None = None

    def __len__(self) -> int:
        return len(self.is_pad)

    def __getitem__(self, name: str) -> Batch:
        if name not in self.views:
            raise KeyError(f"no window '{name}' in this batch; it has {sorted(self.views)}")
        return self.views[name]

    def map(self, function: Callable[[Array], Array]) -> Batch:
        """Apply `function` to every array."""
        return self._each(lambda obs: obs.map(function), function, lambda batch: batch.map(function))

    def rows(self, index: Any) -> Batch:
        """The rows `index`; the noise is dropped, since it belongs to the batch it was made for."""
        taken = self._each(lambda obs: obs.rows(index), lambda a: a[index], lambda batch: batch.rows(index))
        return replace(taken, noise=None)

    def _each(
        self,
        on_obs: Callable[[Observation], Observation],
        on_array: Callable[[Array], Array],
        on_batch: Callable[[Batch], Batch],
    ) -> Batch:
        values: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None or item.name == "noise":
                values[item.name] = value
            elif isinstance(value, Observation):
                values[item.name] = on_obs(value)
            elif item.name == "views":
                values[item.name] = {name: on_batch(view) for name, view in value.items()}
            elif item.name == "extra":
                values[item.name] = {name: on_array(array) for name, array in value.items()}
            else:
                values[item.name] = on_array(value)
        return Batch(**values)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One control step of one environment or robot.

    Args:
        obs: one frame, without batch or time axes: state `[S]` float32, images `[C h w]` uint8, text of
            length 1.
        reward: of the step just made; 0 after a reset.
        terminated: the task ended; the value beyond is 0.
        truncated: the time ran out; the value beyond is not 0.
        proposed: `[A]`, what the agent asked for; None after a reset.
        applied: `[A]`, what was really commanded after safety; recorded as the action.
        source: `policy`, `human` or `expert`.
        info: `success` (bool) and whatever else the environment tells.
    """

    obs: Observation
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    proposed: np.ndarray | None = None
    applied: np.ndarray | None = None
    source: str = "policy"
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the episode is over, for either reason."""
        return self.terminated or self.truncated


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One recorded episode of L control steps: the observation before each action, and what the action led
    to.

    Args:
        state: `[L S]` float32.
        action: `[L A]` float32, what was applied.
        reward: `[L]` float32, of each step.
        terminated: whether the task ended with the last step (a time limit is not termination).
        success: whether the task was solved.
        text: the instruction.
        images: camera name to `[L C h w]` uint8.
        source: who acted at each step, `[L]` of `policy`, `human` or `expert`.
        columns: further per-step arrays `[L ...]` by name.
        seed: of the reset, or -1.
    """

    state: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: bool
    success: bool
    text: str = ""
    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    source: tuple[str, ...] = ()
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    seed: int = -1

    def __len__(self) -> int:
        return len(self.action)
