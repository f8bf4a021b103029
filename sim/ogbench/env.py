"""A task of OGBench as a `gymnasium.Env`.

Reference: Park et al. 2025, arXiv:2410.20092, whose single tasks these are. What differs from using the
package directly:

- The seed of a reset fixes the whole episode, teleporters included.
- Frames are small pictures of what the cameras see of the very scene that the state tells of. Those of
  OGBench's visual tasks show an arm of glass and other colours.

A step is rewarded for the state before its action, as in its single tasks: an episode ends one step after its
goal is met.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from robopolicy.core.errors import ConfigError, UnknownNameError
from robopolicy.core.ranges import in_range
from sim.drawn import DrawnEnv
from sim.env import command, squares
from sim.ogbench.goals import goal_of
from sim.ogbench.state import DM, spec_of
from sim.ogbench.tasks import split
from sim.ogbench.worlds import World
from sim.render import Frames, check_cameras

REWARDS = ("dense", "sparse")
STARTS = ("task", "anywhere")


class OGBenchEnv(DrawnEnv):
    """An episode of a task, fixed by the seed of its reset.

    Args:
        task: its name.
        observe: `state` (no GL), `pixels` (the body and cameras) or `all`.
        cameras: by name; None for the one that the domain is usually seen through, if it has any.
        image_size: height and width of the cameras' frames, pixels.
        look: of the frames: `plain`, quick to draw, or `full`, with shadows and reflections.
        reward: `dense`, minus the number of things that are not where they should be, as OGBench has it, or
            `sparse`, -1 unless all are (Li et al. 2025, arXiv:2507.07969). In mazes both are the same.
        start: `task`, where the task begins, or `anywhere`, as in OGBench's collections. The latter cuts an
            episode of `scene` off when its cube gets where nobody would see it.
        terminate: end the episode with its first success; otherwise it lasts until its time limit.
        time_limit: control steps; OGBench's by default.

    Raises:
        UnknownNameError: there is no such camera, look, reward or start.
        ConfigError: a maze is to begin anywhere.
    """

    def __init__(
        self,
        task: str,
        *,
        observe: str = "state",
        cameras: Sequence[str] | None = None,
        image_size: int = 84,
        look: str = "plain",
        reward: str = "dense",
        start: str = "task",
        terminate: bool = True,
        time_limit: int | None = None,
    ) -> None:
        for kind, name, known in (("reward", reward, REWARDS), ("start", start, STARTS)):
            if name not in known:
                raise UnknownNameError(kind, name, list(known))
        domain, number = split(task)
        anywhere = start == "anywhere"
        if anywhere and not domain.arm:
            raise ConfigError(
                f"start is 'anywhere', as in collections, for which there is nobody in {task}; the play and "
                "noisy sets are of the tasks with an arm"
            )
        in_range("OGBenchEnv", least=1, time_limit=time_limit)
        in_range("OGBenchEnv", least=1, most=1024, image_size=image_size)
        self._sparse, self._terminate = reward == "sparse", terminate
        self._time_limit = time_limit or domain.time_limit
        self._world = World(domain, number, anywhere=anywhere)
        model = self._world.model
        usual = [model.camera(index).name for index in range(model.ncam)][-1:]
        check_cameras(model, shown := usual if cameras is None else cameras)
        whole = replace(spec_of(domain), images=squares(shown, image_size))
        frames = Frames(model, self._world.data, look=look)
        self._show(whole.observe(observe), of=whole, frames=frames, overview=self._world.overview)
        self._goal = goal_of(task)
        self._looks_at = whole.state.indices(self._goal.looks_at)
        hides = anywhere and domain.fixtures
        self._watched = whole.state.indices(("env.cube0.y", "env.cube0.z")) if hides else None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode; without a seed, the next one of the last seed's stream."""
        super().reset(seed=seed)
        self._ticks = 0
        self._state = self._world.reset(int(self.np_random.integers(1 << 31))).astype(np.float32)
        return self._seen(self._state), {"success": False}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control step.

        Raises:
            ActionError: for an action that cannot be commanded.
        """
        action = command(self.spec_, action)
        met = self._goal.met(self._state[self._looks_at])  # judged as it is recorded: relabelling agrees
        self._state = self._world.step(action).astype(np.float32)
        self._ticks += 1
        success = bool(met.all())
        reward = float(success) - 1.0 if self._sparse else float(met.sum()) - len(met)
        terminated = success and self._terminate
        truncated = not terminated and (self._ticks >= self._time_limit or self._hidden())
        return self._seen(self._state), reward, terminated, truncated, {"success": success}

    def _hidden(self) -> bool:
        """Whether the cube is out of sight, and not because it is in the drawer."""
        if self._watched is None:
            return False
        y, z = self._state[self._watched] / DM
        return bool(y >= 0.29 or (y <= -0.3 and not 0.06 <= z <= 0.08))
