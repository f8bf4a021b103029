# pyright: reportAttributeAccessIssue=false
"""OGBench's own environments, made so that the seed of a reset fixes all they draw.

By themselves they also draw from action spaces that are made anew, without a seed, each time they are asked
for, and from numpy's global generator.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np

from sim import gl
from sim.ogbench.tasks import Domain

with gl.undrawn():
    import ogbench  # noqa: F401  registers them with gymnasium


def make(domain: Domain, number: int, **options: Any) -> Any:
    """OGBench's environment of a task, bare of wrappers; what it has by way of tasks is in `task_infos`."""
    if domain.arm:
        options["visualize_info"] = False  # cubes stay as they are when they are where they should be
    name = f"{domain.name}-singletask-task{number}-v0"
    env: Any = gymnasium.make(name, disable_env_checker=True, terminate_at_goal=False, **options).unwrapped
    if not domain.arm:
        Path(env.fullpath).unlink()  # a model in the folder of temporary files, which it leaves there
    return env


@contextmanager
def drawing_from(random: np.random.RandomState) -> Iterator[None]:
    """Within the block numpy's global generator is this one; not for threads."""
    before = np.random.get_state(legacy=False)
    np.random.set_state(random.get_state(legacy=False))
    try:
        yield
    finally:
        random.set_state(np.random.get_state(legacy=False))
        np.random.set_state(before)


class World:
    """The simulation of a task.

    Args:
        domain, number: the task.
        anywhere: things, arm and buttons begin anywhere, as in OGBench's collections; otherwise where the
            task has them begin. Of scenes with an arm.

    Attributes:
        model, data: MuJoCo's, the same all the time.
        overview: a camera for people.
    """

    def __init__(self, domain: Domain, number: int, *, anywhere: bool = False) -> None:
        env = make(domain, number, **({"mode": "data_collection"} if anywhere else {}))
        if domain.arm:
            space = gymnasium.spaces.Box(-1.0, 1.0, (5,), np.float32)
            env.__class__ = type("Seeded", (type(env),), {"action_space": space})
        self._env = env
        self.reset(0)  # an arm's model is made by this
        self.model: mujoco.MjModel = env.model
        self.data: mujoco.MjData = env.data
        self.overview: str | mujoco.MjvCamera = "front" if domain.arm else env.custom_camera

    def reset(self, seed: int) -> np.ndarray:
        """Begin an episode; the state `[S]`, float64."""
        self._random = np.random.RandomState(seed)
        self._env.action_space.seed(seed)
        with drawing_from(self._random):
            return self._env.reset(seed=seed)[0]

    def step(self, action: np.ndarray) -> np.ndarray:
        """One control step; the state after it."""
        with drawing_from(self._random):
            return self._env.step(action)[0]
