"""Turns the steps of the acting loop into episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from robopolicy.core.spec import Spec
from robopolicy.core.types import Episode, Observation, Step


@dataclass
class _Tape:
    seed: int
    obs: list[Observation]
    steps: list[Step] = field(default_factory=list)


class Recorder:
    """An observer that hands each finished episode to `sink`.

    Each frame is the observation before an action, the action that was really applied, and what it led to.
    The observation after the last action is not kept.

    Args:
        spec: what to record.
        sink: called once per episode, in the order in which episodes end.
        env_spec: what the environment shows, where that is more.
        source: who acts, where the steps do not say it: `policy`, `human` or `expert`.
        columns: entries of `Step.info` to record as per-step columns.

    Raises:
        SpecMismatchError: the environment does not show what is to be recorded.
    """

    def __init__(
        self,
        spec: Spec,
        sink: Callable[[Episode], None],
        *,
        env_spec: Spec | None = None,
        source: str | None = None,
        columns: tuple[str, ...] = (),
    ) -> None:
        shown = env_spec or spec
        spec.require(shown, wanted_by="the recorder", offered_by="the environment")
        self.spec, self._sink, self._source, self._columns = spec, sink, source, columns
        self._state = shown.state.indices(spec.state.names)
        self._tapes: dict[int, _Tape] = {}

    def start(self, row: int, step: Step, seed: int) -> None:
        """An episode begins in `row`."""
        self._tapes[row] = _Tape(seed=seed, obs=[step.obs])

    def step(self, row: int, step: Step) -> None:
        """One control step was made."""
        self._tapes[row].obs.append(step.obs)
        self._tapes[row].steps.append(step)

    def end(self, row: int) -> None:
        """The episode of `row` is over and goes to the sink."""
        tape = self._tapes.pop(row)
        before, steps = tape.obs[:-1], tape.steps
        text = before[0].text
        self._sink(
            Episode(
                state=np.stack([obs.state[self._state] for obs in before]).astype(np.float32),
                action=np.stack([_applied(step) for step in steps]).astype(np.float32),
                reward=np.array([step.reward for step in steps], np.float32),
                terminated=steps[-1].terminated,
                success=bool(steps[-1].info.get("success", False)),
                text="" if text is None else text[0],
                images={name: np.stack([obs.images[name] for obs in before]) for name in self.spec.images},
                source=tuple(self._source or step.source for step in steps),
                columns={name: np.stack([step.info[name] for step in steps]) for name in self._columns},
                seed=tape.seed,
            )
        )


class Replay:
    """An agent that repeats recorded actions: the same seeds and the same actions give the same episodes.

    Args:
        actions: `[L A]` per row; a row that outlives its recording repeats the last action.
    """

    def __init__(self, actions: Sequence[np.ndarray]) -> None:
        self._actions = actions
        self._ticks: dict[int, int] = {}

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """Rewind these rows."""
        self._ticks.update(dict.fromkeys(rows, 0))

    def act(self, steps: Sequence[Step]) -> np.ndarray:
        """The next recorded action of each row, `[B A]`."""
        chosen = []
        for row in range(len(steps)):
            chosen.append(self._actions[row][min(self._ticks[row], len(self._actions[row]) - 1)])
            self._ticks[row] += 1
        return np.stack(chosen).astype(np.float32)


def _applied(step: Step) -> np.ndarray:
    if step.applied is None:
        raise ValueError("a step without `applied` cannot be recorded; the environment must say what it did")
    return step.applied
