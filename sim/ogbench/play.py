"""Who plays in the scenes of the arm: random goals, one after another, carried out by OGBench's oracles.

Like any demonstrator here it sees states alone. What the oracles ask for is read from these, and the goals
are drawn here, as often and from the same places as in OGBench's collections. What differs from these: a
seed fixes an episode, and the first action for a new goal is not one for the goal before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ogbench.manipspace.oracles.markov.button_markov import ButtonMarkovOracle
from ogbench.manipspace.oracles.markov.cube_markov import CubeMarkovOracle
from ogbench.manipspace.oracles.markov.drawer_markov import DrawerMarkovOracle
from ogbench.manipspace.oracles.markov.window_markov import WindowMarkovOracle
from ogbench.manipspace.oracles.plan.button_plan import ButtonPlanOracle
from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle
from ogbench.manipspace.oracles.plan.drawer_plan import DrawerPlanOracle
from ogbench.manipspace.oracles.plan.window_plan import WindowPlanOracle

from robopolicy.core.errors import SpecMismatchError
from robopolicy.core.spec import Spec
from robopolicy.core.types import Step
from sim.ogbench.quality import Quality
from sim.ogbench.scene import Scene
from sim.ogbench.state import spec_of
from sim.ogbench.targets import Target, draw
from sim.ogbench.tasks import Domain
from sim.ogbench.worlds import drawing_from, make

_PLANNERS = {
    "cube": CubePlanOracle,
    "button": ButtonPlanOracle,
    "drawer": DrawerPlanOracle,
    "window": WindowPlanOracle,
}
_REACTERS = {
    "cube": CubeMarkovOracle,
    "button": ButtonMarkovOracle,
    "drawer": DrawerMarkovOracle,
    "window": WindowMarkovOracle,
}
_SPREAD = np.array([1.0, 1.0, 1.0, 3.0, 10.0])  # of the noise on actions


class Player:
    """Plays in B environments; a `robopolicy.core.protocols.Agent`.

    Args:
        domain: of the environments' tasks.
        quality: how.
        rows: B.
        spec: of the environments; None: they show the state.

    Raises:
        SpecMismatchError: the environments hide something.
    """

    def __init__(self, domain: Domain, *, quality: Quality, rows: int = 1, spec: Spec | None = None) -> None:
        whole = spec_of(domain)
        shown = whole if spec is None else spec
        try:
            whole.require(shown, wanted_by="the player", offered_by="the environment")
        except SpecMismatchError as error:
            raise SpecMismatchError(f"{error}; make it with observe='state' or observe='all'") from error
        self._domain, self._quality, self._action = domain, quality, shown.action
        self._seen = shown.state.indices(whole.state.names)
        self._env = make(domain, domain.usual)  # which tells oracles where the hand may go; nobody steps it
        self._rows: list[_Row | None] = [None] * rows

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """New episodes begin in these rows; all that is done in them is drawn from their seeds."""
        for row, seed in zip(rows, seeds, strict=True):
            # A stream of its own: the environment draws its initial state from the same seed.
            rng = np.random.default_rng([seed, 0xE])
            self._rows[row] = _Row(self._domain, self._quality, self._env, rng)

    def act(self, steps: Sequence[Step]) -> np.ndarray:
        """The action of each row, `[B A]` float32."""
        actions = []
        for row, step in zip(self._rows, steps, strict=True):
            if row is None:
                raise RuntimeError("act was called before reset")
            actions.append(row.next(Scene.of(self._domain, step.obs.state[self._seen])))
        return self._action.clip(np.stack(actions).astype(np.float32))


class _Row:
    """One episode: its oracles, and what they are at."""

    def __init__(self, domain: Domain, quality: Quality, env: Any, rng: np.random.Generator) -> None:
        self._domain, self._rng = domain, rng
        self._bounds, self._dt = env._target_sampling_bounds, env.control_timestep()
        self._oracles = _oracles(domain, quality, env)
        self._draws = np.random.RandomState(rng.integers(1 << 32))  # the oracles'
        self._stack = rng.uniform(*domain.stacks)
        self._noise = 0.0 if quality.plans else rng.uniform(0, quality.noise)
        usual = 0.0 if quality.plans else 0.1 if domain.cubes else 0.2
        self._random_action = usual if quality.random_action is None else quality.random_action
        self._target: Target | None = None
        self._ticks = 0

    def next(self, scene: Scene) -> np.ndarray:
        """The action `[A]` to command now, which may be out of bounds."""
        seconds = self._dt * self._ticks
        self._ticks += 1
        if self._target is None or self._oracles[self._target.kind].done:
            self._target = draw(self._rng, self._domain, scene, bounds=self._bounds, stack=self._stack)
            with drawing_from(self._draws):
                self._oracles[self._target.kind].reset(None, self._target.told(scene, seconds))
        oracle, told = self._oracles[self._target.kind], self._target.told(scene, seconds)
        if self._rng.random() < self._random_action:
            return self._rng.uniform(-1, 1, len(_SPREAD))
        return oracle.select_action(None, told) + self._noise * _SPREAD * self._rng.normal(size=len(_SPREAD))


def _oracles(domain: Domain, quality: Quality, env: Any) -> dict[str, Any]:
    """OGBench's, for each kind of thing that there is."""
    kinds = ["cube"] * bool(domain.cubes) + ["button"] * bool(domain.buttons)
    kinds += ["drawer", "window"] * domain.fixtures
    found = {}
    for kind in kinds:
        # With nothing to grasp the gripper stays closed.
        options = {"gripper_always_closed": True} if kind == "button" and not domain.cubes else {}
        if quality.plans:
            found[kind] = _PLANNERS[kind](
                env=env, noise=quality.noise, noise_smoothing=quality.smoothing, **options
            )
        else:
            found[kind] = _REACTERS[kind](env=env, min_norm=quality.min_norm, **options)
    return found
