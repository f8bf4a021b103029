# pyright: reportAttributeAccessIssue=false
"""The tabletop suite as a `gymnasium.Env`: one arm, one table, one task."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np

from robopolicy.core.errors import UnknownNameError
from robopolicy.core.ranges import in_range
from sim.drawn import DrawnEnv
from sim.env import command
from sim.render import Frames
from sim.tabletop import arm, state
from sim.tabletop.randomize import Randomizer, ranges
from sim.tabletop.scene import LARGEST, OBJECT_SETS, SUBSTEPS, compose
from sim.tabletop.state import Scene
from sim.tabletop.task import Task

_KNOCK_CHANCE = 0.03  # per control step
_FADE = 0.85  # of a knock, per control step


class TabletopEnv(DrawnEnv):
    """An episode of a task, fixed by the seed of its reset.

    Args:
        task: what is to be done.
        observe: `state` (everything there is to know, no GL), `pixels` (proprioception and cameras) or `all`.
        action_mode: `joint`, absolute joint positions in rad, or `ee`, the tool's pose in the base frame.
        image_size: height and width of the cameras' frames, pixels.
        look: of the frames: `plain`, quick to draw, or `full`, with shadows and reflections.
        objects: `training`, or `held_out`: things of other sizes, and everything in other shades.
        randomize: draw friction, masses, light, cameras and delay anew in each episode, from its seed: True
            for the usual ranges, or those wanted by name, see `randomize.Ranges`.
        knocks: standard deviation, rad, of knocks that the arm's joints get now and then: an error on what
            they are told, fading in 0.2 s. Demonstrations then show the way back, and their actions are still
            what was meant (DART, Laskey et al. 2017, arXiv:1703.09327).
        terminate: end the episode when the goal is met; otherwise it lasts until its time limit.
        time_limit: control steps; the task's by default.

    Attributes:
        model, data: MuJoCo's; read them, but change nothing.
    """

    def __init__(
        self,
        task: Task,
        *,
        observe: str = "state",
        action_mode: str = "joint",
        image_size: int = 84,
        look: str = "plain",
        objects: str = "training",
        randomize: bool | Mapping[str, Sequence[float]] = False,
        knocks: float = 0.0,
        terminate: bool = True,
        time_limit: int | None = None,
    ) -> None:
        if objects not in OBJECT_SETS:
            raise UnknownNameError("set of objects", objects, list(OBJECT_SETS))
        in_range("TabletopEnv", least=1, time_limit=time_limit)
        in_range("TabletopEnv", least=1, most=min(LARGEST), image_size=image_size)
        in_range("TabletopEnv", least=0, knocks=knocks)
        chosen, changes = OBJECT_SETS[objects], ranges(randomize)
        self.task = task
        whole = state.make_spec(action_mode=action_mode, image_size=image_size)
        self._ee_actions = action_mode == "ee"
        self._knocks = knocks
        self._terminate, self._time_limit = terminate, time_limit or task.time_limit
        self.model = compose(task, chosen)
        self.data = mujoco.MjData(self.model)
        frames = Frames(self.model, self.data, look=look)
        self._show(whole.observe(observe), of=whole, frames=frames, overview=_from_the_side())
        self._objects = [self.model.body(prop.name).id for prop in task.props if prop.role == "object"]
        self._goals = [self.model.body(prop.name).id for prop in task.props if prop.role == "goal"]
        self._fixtures = {
            self.model.body(prop.name).id: self.model.joint(prop.name).qposadr[0]
            for prop in task.props
            if prop.role == "fixture"
        }
        self._scale = chosen.scale
        self._sizes = chosen.scale * np.array([prop.size for prop in task.props if prop.role == "object"])
        self._randomizer = Randomizer(changes, self.model, self._objects) if changes else None
        self._low, self._high = arm.limits()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode; without a seed, the next one of the last seed's stream."""
        super().reset(seed=seed)
        rng = self.np_random
        mujoco.mj_resetData(self.model, self.data)
        start = _ready(rng)
        self.data.qpos[:6] = self.data.ctrl[:] = start
        self.data.ctrl[:5] -= arm.droop(start)
        hold = self.data.ctrl.copy()
        for name, pose in self.task.place(rng).items():
            body = self.model.body(name)
            joint = body.jntadr[0]
            if joint >= 0 and self.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
                at = self.model.jnt_qposadr[joint]
                # On the table or in each other: what is smaller begins lower.
                self.data.qpos[at : at + 7] = [pose.x, pose.y, pose.z * self._scale, *pose.quat]
            else:
                self.model.body_pos[body.id] = [pose.x, pose.y, pose.z]
                self.model.body_quat[body.id] = pose.quat
            if body.id in self._fixtures:
                self.data.qpos[self._fixtures[body.id]] = pose.travel
        self._instruction = self.task.instructions[rng.integers(len(self.task.instructions))]
        delay = self._randomizer.draw(rng) if self._randomizer else 0
        self._commands = deque([hold] * delay)
        self._knock = np.zeros(5)
        self._ticks = self._held = 0
        return self._seen(self._state()), self._info(False)

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control step of 1/30 s; reward 1 once the goal has been met for `task.hold` steps on end.

        Raises:
            ActionError: for an action that cannot be commanded.
        """
        action = command(self.spec_, action)
        if self._ee_actions:
            action = np.append(arm.inverse(action[:5]), action[5])
        self._commands.append(action)
        self.data.ctrl[:] = self._commands.popleft()
        if self._knocks:
            self._knock *= _FADE
            if self.np_random.random() < _KNOCK_CHANCE:
                self._knock += self._knocks * self.np_random.normal(size=5)
            self.data.ctrl[:5] += self._knock
        mujoco.mj_step(self.model, self.data, nstep=SUBSTEPS)
        now = self._state()
        if not np.isfinite(now).all():
            raise FloatingPointError(f"the simulation of tabletop/{self.task.name} diverged")
        self._ticks += 1
        # Judged as it is recorded, so that relabelling agrees.
        solved = self.task.solved(Scene(now.astype(np.float32).astype(np.float64)))
        self._held = self._held + 1 if solved else 0
        success = self._held >= self.task.hold
        terminated = success and self._terminate
        truncated = not terminated and self._ticks >= self._time_limit
        return self._seen(now), float(success), terminated, truncated, self._info(success)

    def _info(self, success: bool) -> dict[str, Any]:
        return {"success": success, "instruction": self._instruction}

    def _state(self) -> np.ndarray:
        """The whole state `[S]`, float64."""
        model, data = self.model, self.data
        mujoco.mj_kinematics(model, data)
        now = np.zeros(state.SIZE)
        now[:6] = data.qpos[:6]
        now[6:12] = data.qvel[:6]
        now[state.EE : state.EE + 5] = pose = arm.forward(now[:5])
        if self._objects:
            turn = data.xmat[self._objects]
            slots = now[state.OBJECT : state.GOAL].reshape(state.OBJECTS, -1)[: len(self._objects)]
            slots[:, :3] = data.xpos[self._objects]
            slots[:, 3:6] = turn[:, [0, 3, 8]]
            slots[:, 6] = self._sizes
            slots[:, 7:10] = state.from_hand(pose, slots[:, :3])
            slots[:, 10:12] = state.seen_by(pose, slots[:, 3:5])
        if self._goals:
            goals = now[state.GOAL : state.FIXTURE].reshape(state.GOALS, -1)[: len(self._goals)]
            goals[:, :3] = model.body_pos[self._goals]
            goals[:, 3:] = state.from_hand(pose, goals[:, :3])
        for body, joint in self._fixtures.items():
            now[state.FIXTURE :] = [*model.body_pos[body][:2], *data.xmat[body][[0, 3]], data.qpos[joint]]
        return now


def _from_the_side() -> mujoco.MjvCamera:
    """A camera that sees the whole scene."""
    view = mujoco.MjvCamera()
    view.lookat[:] = [0.15, 0.0, 0.07]
    view.distance, view.azimuth, view.elevation = 0.7, 140, -30
    return view


def _ready(rng: np.random.Generator) -> np.ndarray:
    """A random start `[6]`: the hand above the middle of the table, half open."""
    pose = np.array([0.17, 0.0, 0.14, 1.3, 0.0]) + rng.uniform(-1, 1, 5) * [0.03, 0.05, 0.03, 0.2, 0.4]
    return np.append(arm.inverse(pose), rng.uniform(0.2, 0.8))
