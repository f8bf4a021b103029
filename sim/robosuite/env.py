# pyright: reportAttributeAccessIssue=false
"""A task of robosuite as a `gymnasium.Env`.

Reference: Zhu et al. 2020, arXiv:2009.12293. What differs from using the package directly:

- The seed of a reset fixes the episode; the package draws from global random numbers. The model lasts from
  one episode to the next, so Lift's cube has one size, where a hard reset draws another.
- Observations are of the end of a control step. The package's own were taken after the first of its 25
  simulated steps, and poses of things as the hand sees them one control step earlier still.
- An episode ends with its first success, and is rewarded for that alone.

State: joints, hand and fingers of each robot, and what robosuite tells of the things, by the names that
robomimic's files have for them. Quaternions are xyzw, those of hands of the point between the fingers.
Action: what the controllers take, arm by arm, as shares of the most that they do in a step (OSC_POSE 5 cm and
0.5 rad, JOINT_POSITION 0.05 rad). 20 control steps a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import mujoco
import numpy as np

from robopolicy.core.errors import UnknownNameError
from robopolicy.core.ranges import in_range
from robopolicy.core.spec import Spec, Vector
from sim.drawn import DrawnEnv
from sim.env import command, squares
from sim.render import Frames, check_cameras
from sim.robosuite.package import controller_settings, drawing, make
from sim.robosuite.spec import (
    CONTROL_HZ,
    CONTROLLERS,
    arm_actions,
    chosen,
    gripper_action,
    shares,
    things,
    told,
)
from sim.robosuite.tasks import TASKS

REWARDS = ("sparse", "dense")

_SHOWN = ("joint_pos", "eef_pos", "eef_quat_site", "gripper_qpos")  # of what robosuite observes of a robot
_COLLISION = 0  # the group of the shapes that collide; what is to be seen is drawn over them


class RobosuiteEnv(DrawnEnv):
    """An episode of a task, fixed by the seed of its reset.

    Args:
        task: its name.
        robots: Panda, UR5e ..., by name, or one name for each arm of a task for two.
        controller: `OSC_POSE`, which moves the hand, or `JOINT_POSITION`.
        observe: `state` (no GL), `pixels` (the robots and cameras) or `all`.
        cameras: by name; None for one in front and one on each robot's hand.
        image_size: height and width of the cameras' frames, pixels.
        look: of the frames: `plain`, quick to draw, or `full`, with shadows and reflections.
        reward: `sparse`, 1 for a step that meets the goal, or `dense`, robosuite's own of at most 1. The
            latter wants `terminate` to be off: beyond the end there is nothing, and it would pay to wait.
        terminate: end the episode with its first success; otherwise it lasts until its time limit.
        time_limit: control steps.

    Attributes:
        settings: the robots, and robosuite's settings of their controllers.

    Raises:
        UnknownNameError: there is no such robot, controller, camera, look or reward.
        ConfigError: the robots have too many arms for the task, or too few.
    """

    def __init__(
        self,
        task: str,
        *,
        robots: str | Sequence[str] = "Panda",
        controller: str = "OSC_POSE",
        observe: str = "state",
        cameras: Sequence[str] | None = None,
        image_size: int = 84,
        look: str = "plain",
        reward: str = "sparse",
        terminate: bool = True,
        time_limit: int = 400,
    ) -> None:
        if reward not in REWARDS:
            raise UnknownNameError("reward", reward, list(REWARDS))
        in_range("RobosuiteEnv", least=1, time_limit=time_limit)
        in_range("RobosuiteEnv", least=1, most=1024, image_size=image_size)
        self.task = TASKS[task]
        self._dense, self._terminate, self._time_limit = reward == "dense", terminate, time_limit
        named = chosen(robots, self.task.arms)
        controllers = [controller_settings(controller, robot) for robot in named]
        self.settings = {"robots": named, "controllers": controllers}
        self._env: Any = make(task, named, controllers, dense=self._dense)
        self._model: mujoco.MjModel = self._env.sim.model._model
        self._data: mujoco.MjData = self._env.sim.data._data
        self._update = self._env._update_observables
        self._env._update_observables = lambda force=False: None  # 25 times a control step, and too early
        known = [self._model.camera(index).name for index in range(self._model.ncam)]
        eyes = [name for name in known if name.endswith("eye_in_hand")]
        shown = ["agentview", *eyes] if cameras is None else cameras
        check_cameras(self._model, shown)
        observed = self._observed()
        own = {name: value for name, value in observed.items() if name.startswith("robot")}
        state = {
            entry: bounds for name, value in own.items() for entry, bounds in told(name, len(value)).items()
        }
        whole = Spec(
            state=Vector.of(state | things(self.task)),
            action=shares(list(_actions(self._env.robots, controller, self.task.arms))),
            control_hz=CONTROL_HZ,
            semantics=CONTROLLERS[controller],
            images=squares(shown, image_size),
            text=True,
        )
        frames = Frames(self._model, self._data, look=look, hidden=(_COLLISION,))
        self._show(whole.observe(observe), of=whole, frames=frames, overview="agentview")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode; without a seed, the next one of the last seed's stream."""
        super().reset(seed=seed)
        with drawing(self.np_random):
            self._env.reset()
        # It was simulated before things were in their places, and the solver begins with what it last found.
        self._data.qacc_warmstart[:] = 0.0
        mujoco.mj_forward(self._model, self._data)
        self._ticks = 0
        return self._observe(), self._info(False)

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control step of 1/20 s.

        Raises:
            ActionError: for an action that cannot be commanded.
        """
        _, dense, _, _ = self._env.step(command(self.spec_, action).astype(np.float64))
        mujoco.mj_kinematics(self._model, self._data)  # of where the last simulated step led
        self._ticks += 1
        success = bool(self._env._check_success())
        terminated = success and self._terminate
        truncated = not terminated and self._ticks >= self._time_limit
        reward = float(dense) if self._dense else float(success)
        return self._observe(), reward, terminated, truncated, self._info(success)

    def _info(self, success: bool) -> dict[str, Any]:
        return {"success": success, "instruction": self.task.instruction}

    def _observe(self) -> dict[str, np.ndarray]:
        return self._seen(np.concatenate(list(self._observed().values())))

    def _observed(self) -> dict[str, np.ndarray]:
        """What robosuite observes of the robots, and `object`."""
        for _ in range(2):  # the first finds poses; the second, what follows from those
            self._update(force=True)
        seen = self._env._get_observations()
        robots = {
            name: value for name, value in seen.items() if name.startswith("robot") and name.endswith(_SHOWN)
        }
        return {**robots, "object": seen["object-state"]}


def _actions(robots: Sequence[Any], controller: str, arms: int) -> Iterator[str]:
    """The names of what the controllers of all arms take, in their order."""
    first = 0
    for robot in robots:
        for part in robot.composite_controller._action_split_indexes:
            side, gripper, _ = part.partition("_gripper")
            arm = first + robot.arms.index(side)
            if gripper:
                yield gripper_action(arm, arms)
            else:
                yield from arm_actions(
                    controller, arm, arms, len(robot.composite_controller.get_controller(part).joint_index)
                )
        first += len(robot.arms)
