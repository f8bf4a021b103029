# pyright: reportAttributeAccessIssue=false
"""A task of Meta-World as a `gymnasium.Env`, and its scripted policy.

Reference: Yu et al. 2019, arXiv:1910.10897; McLean et al. 2025, arXiv:2505.11289. What differs from using the
package directly:

- The seed of a reset fixes goal and start. The package's own reset ignores it, takes its goals from a list
  and begins with observations that were made before things were put where they belong.
- The goal is part of the state, as in its multi-task benchmarks; by itself the package shows zeros.
- An episode ends with its first success, as in the package's evaluation, and is rewarded for that alone.
- Cameras that hang upside down are turned, and `corner2` is as near as most work that learns from pixels has
  it.

State: the hand and the two things of a task now, the same one control step ago, and the goal; what a task
does not have is zero. Action: where the hand is to go from where it was told to be, in cm, and the effort of
the fingers. 80 control steps a second.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.policies import ENV_POLICY_MAP

from robopolicy.core.errors import UnknownNameError
from robopolicy.core.ranges import in_range
from robopolicy.core.spec import ActionSemantics, Spec, Vector
from sim.drawn import DrawnEnv
from sim.env import command, squares
from sim.metaworld.tasks import TASKS
from sim.render import Frames, check_cameras

REWARDS = ("sparse", "dense")

_INF = float("inf")
_HAND = {"ee.x": (-0.525, 0.525, "m"), "ee.y": (0.348, 1.025, "m"), "ee.z": (-0.0525, 0.7, "m")}
_THING = dict.fromkeys("xyz", "m") | dict.fromkeys(("q0", "q1", "q2", "q3"), "1")
_FRAME = (
    _HAND
    | {"gripper.open": (-1.0, 1.0, "1")}
    | {f"env.object{i}.{name}": (-_INF, _INF, unit) for i in range(2) for name, unit in _THING.items()}
)


def _before(name: str) -> str:
    return f"env.previous.{name.removeprefix('env.')}" if name.startswith("env.") else f"previous.{name}"


WHOLE = Spec(
    state=Vector.of(
        _FRAME
        | {_before(name): bounds for name, bounds in _FRAME.items()}
        | {f"env.goal.{axis}": (-_INF, _INF, "m") for axis in "xyz"}
    ),
    action=Vector.of({f"ee.{axis}": (-1.0, 1.0, "cm") for axis in "xyz"} | {"gripper": (-1.0, 1.0, "1")}),
    control_hz=80.0,
    semantics=ActionSemantics(mode="delta", frame="base", gripper="closing_effort"),
    text=True,
)
"""Of every task, without images."""


class MetaWorldEnv(DrawnEnv):
    """An episode of a task, fixed by the seed of its reset.

    Args:
        task: its name.
        observe: `state` (no GL), `pixels` (the hand and cameras) or `all`.
        cameras: by name.
        image_size: height and width of the cameras' frames, pixels.
        look: of the frames: `plain`, quick to draw, or `full`, with shadows and reflections.
        goal: whether the state tells where the goal is; frames show it in any case.
        reward: `sparse`, 1 for a step that meets the goal, or `dense`, Meta-World's own of 0 to 10. The
            latter wants `terminate` to be off: beyond the end there is nothing, and it would pay to wait.
        terminate: end the episode with its first success; otherwise it lasts until its time limit.
        time_limit: control steps; 500 is Meta-World's own.

    Raises:
        UnknownNameError: there is no such camera, look or reward.
    """

    def __init__(
        self,
        task: str,
        *,
        observe: str = "state",
        cameras: Sequence[str] = ("corner2", "gripperPOV"),
        image_size: int = 84,
        look: str = "plain",
        goal: bool = True,
        reward: str = "sparse",
        terminate: bool = True,
        time_limit: int = 500,
    ) -> None:
        if reward not in REWARDS:
            raise UnknownNameError("reward", reward, list(REWARDS))
        in_range("MetaWorldEnv", least=1, most=500, time_limit=time_limit)
        in_range("MetaWorldEnv", least=1, most=1024, image_size=image_size)
        self.task = task
        self._dense, self._terminate, self._time_limit = reward == "dense", terminate, time_limit
        self._env: Any = ALL_V3_ENVIRONMENTS[task]()
        # What its benchmarks set by way of pickled tasks, each of which holds one of 50 goals.
        self._env._set_task_called = self._env.seeded_rand_vec = True
        self._env._partially_observable = False
        del self._env.sawyer_observation_space  # a cached property, of when the goal was hidden
        self._env.model.camera("corner2").pos[:] = [0.75, 0.075, 0.7]
        frames = Frames(
            self._env.model, self._env.data, look=look, upside_down=("corner", "corner2", "corner3")
        )
        check_cameras(self._env.model, cameras)
        whole = replace(WHOLE, images=squares(cameras, image_size))
        kept = [name for name in WHOLE.state.names if goal or not name.startswith("env.goal.")]
        spec = whole.observe(observe, None if goal else kept)
        self._show(spec, of=WHOLE, frames=frames, overview="corner2")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode; without a seed, the next one of the last seed's stream."""
        super().reset(seed=seed)
        env = self._env
        env.seed(int(self.np_random.integers(1 << 31)))
        env._freeze_rand_vec = False
        env.reset()  # draws where things and the goal are, more than once
        env._freeze_rand_vec = True
        env.reset()  # the last draw again, and all that is measured at the start, with things in their places
        mujoco.mj_forward(env.model, env.data)  # some tasks move things after that
        env._get_obs()  # what it returns next has this as the step before
        self._ticks = 0
        return self._observe(env._get_obs()), self._info(False)

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control step of 1/80 s.

        Raises:
            ActionError: for an action that cannot be commanded.
        """
        obs, dense, _, _, info = self._env.step(command(self.spec_, action))
        self._ticks += 1
        success = bool(info["success"])
        terminated = success and self._terminate
        truncated = not terminated and self._ticks >= self._time_limit
        reward = float(dense) if self._dense else float(success)
        return self._observe(obs), reward, terminated, truncated, self._info(success)

    def _info(self, success: bool) -> dict[str, Any]:
        return {"success": success, "instruction": TASKS[self.task]}

    def _observe(self, obs: np.ndarray) -> dict[str, np.ndarray]:
        space = self._env.sawyer_observation_space  # to which Meta-World clips all but the first
        return self._seen(np.clip(obs, space.low, space.high))


def script(task: str) -> Callable[[np.ndarray], np.ndarray]:
    """Meta-World's policy of a task: the whole state `[39]` to an action `[4]` that may be out of bounds."""
    policy = ENV_POLICY_MAP[task]()

    def act(state: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it is out of bounds
            return policy.get_action(state)

    return act
