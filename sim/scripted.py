"""Demonstrators made of functions from states to actions, and how they are spoiled on purpose.

Many simulators ship scripted policies that do a task well or not at all. A preset of noise makes of them
demonstrations of several qualities: slowly changing, so that it does not average out, and drawn from the
episode's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robopolicy.core import build
from robopolicy.core.errors import ConfigError, SpecMismatchError
from robopolicy.core.ranges import in_range
from robopolicy.core.spec import Spec
from robopolicy.core.types import Step


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How much is added to what a script commands; `robopolicy collect quality=noisy expert.noise=[0.5,0.5]`
    asks for more.

    Args:
        description: one line for a list.
        noise: range of the standard deviation, as a share of half of each action's range; drawn once per
            episode. The gripper is spared: it would drop things rather than move unsteadily.
        memory: correlation of the noise from one control step to the next.
    """

    description: str
    noise: tuple[float, float] = (0.0, 0.0)
    memory: float = 0.8

    def __post_init__(self) -> None:
        in_range("expert", least=0, below=1, memory=self.memory)
        if len(self.noise) != 2 or not 0 <= self.noise[0] <= self.noise[1] < np.inf:
            raise ConfigError(f"expert: noise is {self.noise}; [least, most], from 0 up, is meant")


PRESETS = {
    "expert": Noise(description="the simulator's own script, as it is"),
    "noisy": Noise(description="the script with an unsteady hand", noise=(0.2, 0.2)),
    "mixed": Noise(description="each episode steady, unsteady or anything between", noise=(0.0, 0.6)),
}


def preset(name: str, knobs: Mapping[str, Any] | None = None) -> Noise:
    """The noise of this name, some of its knobs turned otherwise; see `robopolicy.core.build.preset`."""
    return build.preset("quality", PRESETS, name, knobs or {}, fixed=("description",))


class Scripted:
    """Demonstrates in B environments; a `robopolicy.core.protocols.Agent`.

    Args:
        make_script: of one episode, which may draw its manner: gives a function of the whole state `[S]`,
            float64, to an action `[A]`.
        whole: the spec of an environment that shows everything the script looks at.
        noise: what is added.
        rows: B.
        spec: of the environments; None for `whole`.

    Raises:
        SpecMismatchError: the environments hide something, or their actions mean something else.
    """

    def __init__(
        self,
        make_script: Callable[[np.random.Generator], Callable[[np.ndarray], np.ndarray]],
        *,
        whole: Spec,
        noise: Noise,
        rows: int = 1,
        spec: Spec | None = None,
    ) -> None:
        shown = whole if spec is None else spec
        try:
            whole.observe("state").require(shown, wanted_by="the expert", offered_by="the environment")
        except SpecMismatchError as error:
            raise SpecMismatchError(f"{error}; make it with observe='state' or observe='all'") from error
        self._make, self._noise, self._action = make_script, noise, whole.action
        self._seen = shown.state.indices(whole.state.names)
        hands = np.array([name.startswith("gripper") for name in whole.action.names])
        self._reach = np.where(hands, 0.0, np.subtract(whole.action.high, whole.action.low) / 2)
        self._rows: list[_Row | None] = [None] * rows

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """New episodes begin in these rows; their noise is drawn from their seeds."""
        for row, seed in zip(rows, seeds, strict=True):
            # Streams of their own: the environment draws its initial state from the same seed.
            script = self._make(np.random.default_rng([seed, 0xA]))
            self._rows[row] = _Row(script, self._noise, np.random.default_rng([seed, 0xE]), self._reach)

    def act(self, steps: Sequence[Step]) -> np.ndarray:
        """The action of each row, `[B A]` float32."""
        actions = []
        for row, step in zip(self._rows, steps, strict=True):
            if row is None:
                raise RuntimeError("act was called before reset")
            actions.append(row.next(step.obs.state[self._seen].astype(np.float64)))
        return self._action.clip(np.stack(actions).astype(np.float32))


class _Row:
    """One episode's script and its noise."""

    def __init__(
        self,
        script: Callable[[np.ndarray], np.ndarray],
        noise: Noise,
        rng: np.random.Generator,
        reach: np.ndarray,
    ) -> None:
        self._script, self._rng = script, rng
        self._memory, self._scale = noise.memory, rng.uniform(*noise.noise) * reach
        self._noise = rng.normal(size=len(reach))

    def next(self, state: np.ndarray) -> np.ndarray:
        """The action `[A]` to command now, which may be out of bounds."""
        action = self._script(state) + self._scale * self._noise
        fresh = self._rng.normal(size=len(self._noise))
        self._noise = self._memory * self._noise + np.sqrt(1 - self._memory**2) * fresh
        return action
