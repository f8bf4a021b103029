# pyright: reportAttributeAccessIssue=false
"""A task of dm_control's suite as a `gymnasium.Env`.

Reference: Tunyasuvunakool et al. 2020, arXiv:2006.12983. What dm_control leaves unsaid is settled here:

- state: its named observations one after another, `name.index` each; what tells of things outside the body
  begins with `env.`. Units are those of SI, whichever of them an element has; dm_control does not list them.
- action: the actuators' controls, as shares of their range; those of lqr have none, and no bounds.
- success: there are only rewards, at most 1 a step. An episode that stands at `success_reward` or above is
  one that does at this moment what the task asks for, so the last step tells whether it was solved.
- end: the time limit truncates. Only lqr terminates, when it has come to rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import mujoco
import numpy as np

from robopolicy.core.ranges import in_range
from robopolicy.core.spec import Spec, Vector
from sim import gl
from sim.dm_control.tasks import CAMERAS, WORLD
from sim.drawn import DrawnEnv
from sim.env import command, squares
from sim.render import Frames, check_cameras

with gl.undrawn():
    from dm_control import suite

_UNBOUNDED = mujoco.mjMAXVAL  # what dm_control says of an actuator without a range


class DmControlEnv(DrawnEnv):
    """An episode of a task, fixed by the seed of its reset.

    Args:
        task: `domain-task`.
        observe: `state` (no GL), `pixels` (the body and cameras) or `all`.
        cameras: by name; None for the one that the domain is usually seen through.
        image_size: height and width of the cameras' frames, pixels.
        look: of the frames: `plain`, quick to draw, or `full`, with shadows, reflections and the sky.
        success_reward: of a step, from which on the task counts as done; None: nothing does.
        time_limit: control steps; dm_control's own are 1000 for each task that has one.

    Raises:
        UnknownNameError: there is no such camera or look.
    """

    def __init__(
        self,
        task: str,
        *,
        observe: str = "state",
        cameras: Sequence[str] | None = None,
        image_size: int = 84,
        look: str = "plain",
        success_reward: float | None = 0.9,
        time_limit: int = 1000,
    ) -> None:
        in_range("DmControlEnv", least=1, time_limit=time_limit)
        in_range("DmControlEnv", least=1, most=1024, image_size=image_size)
        in_range("DmControlEnv", success_reward=success_reward)
        domain, _, name = task.partition("-")
        self._success_reward, self._time_limit = success_reward, time_limit
        # The task draws from this alone. It is seeded here, too: lqr makes its springs when it is made.
        self._random = np.random.RandomState(0)
        self._env = suite.load(domain, name, {"random": self._random, "time_limit": float("inf")})
        physics = self._env.physics
        # quadruped-escape uploads its terrain to a context of its own, whether anybody looks or not.
        physics.__class__ = type("Physics", (type(physics),), {"contexts": None})
        self._model: mujoco.MjModel = physics.model.ptr
        front: str = CAMERAS.get(domain) or self._model.camera(0).name
        shown = [front] if cameras is None else cameras
        check_cameras(self._model, shown)
        whole = Spec(
            state=_state(domain, self._env.reset().observation),
            action=_action(self._model, self._env.action_spec()),
            control_hz=round(1.0 / self._env.control_timestep(), 6),
            images=squares(shown, image_size),
        )
        frames = Frames(self._model, physics.data.ptr, look=look)
        self._show(whole.observe(observe), of=whole, frames=frames, overview=front)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode; without a seed, the next one of the last seed's stream."""
        super().reset(seed=seed)
        self._random.seed(self.np_random.integers(1 << 32))
        self._ticks = 0
        first = self._env.reset()
        if self._model.nhfield:
            self._frames.close()  # the terrain is new; a renderer keeps the one it was made with
        return self._observe(first.observation), {"success": False}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control step; the reward is dm_control's.

        Raises:
            ActionError: for an action that cannot be commanded.
        """
        made = self._env.step(command(self.spec_, action).astype(np.float64))
        self._ticks += 1
        reward = float(made.reward)
        terminated = made.last()
        truncated = not terminated and self._ticks >= self._time_limit
        success = self._success_reward is not None and reward >= self._success_reward
        return self._observe(made.observation), reward, terminated, truncated, {"success": success}

    def _observe(self, observed: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return self._seen(np.concatenate([np.ravel(value) for value in observed.values()]))


def _state(domain: str, observed: Mapping[str, Any]) -> Vector:
    """The names of what is observed, in the order in which it is."""
    names = []
    for key, value in observed.items():
        names += [f"{key}.{index}" for index in range(np.size(value))] if np.ndim(value) else [key]
    world = [any(fnmatchcase(f"{domain}.{name}", pattern) for pattern in WORLD) for name in names]
    named = [f"env.{name}" if out else name for name, out in zip(names, world, strict=True)]
    return Vector.of({name: (-np.inf, np.inf, "SI") for name in named})


def _action(model: mujoco.MjModel, bounds: Any) -> Vector:
    named = {}
    for index, (low, high) in enumerate(zip(bounds.minimum, bounds.maximum, strict=True)):
        name = model.actuator(index).name or f"control.{index}"
        named[name] = (
            float(low) if low > -_UNBOUNDED else -np.inf,
            float(high) if high < _UNBOUNDED else np.inf,
            "1",
        )
    return Vector.of(named)
