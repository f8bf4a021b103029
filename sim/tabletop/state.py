"""One state layout and one `Spec` for every task of the suite, and a reader that gives its parts names.

What a task does not have is zero, so that one policy can learn all tasks. Robot part: joint positions and
velocities and the tool's pose. `env.*` part: four slots of movable things, two goals, and one fixture (a
drawer or a button) with its travel. A thing's rotation is given by the horizontal part of its x axis (cos and
sin of yaw while it lies flat) and the height of its z axis (1 upright, -1 upside down).

`hand_*` says the same of things and goals as the hand sees it, in the way of robosuite's `..._to_eef_pos`:
from the tool's point, turned about the vertical until x leads from the fixed to the moving finger.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robopolicy.core.errors import ConfigError
from robopolicy.core.spec import ActionSemantics, Spec, Vector
from sim.env import squares
from sim.tabletop import arm

CONTROL_HZ = 30.0
OBJECTS = 4
GOALS = 2
CAMERAS = ("front", "wrist")

_INF = float("inf")
_SLACK = 0.1  # soft joint limits give way a little

_JOINTS = {f"{name}.pos": "rad" for name in arm.JOINTS} | {f"{name}.vel": "rad/s" for name in arm.JOINTS}
_EE = {"ee.x": "m", "ee.y": "m", "ee.z": "m", "ee.pitch": "rad", "ee.roll": "rad"}
_FROM_HAND = {"hand_x": "m", "hand_y": "m", "hand_z": "m"}
_OBJECT = {
    **{"x": "m", "y": "m", "z": "m", "axis_x": "1", "axis_y": "1", "up": "1", "size": "m"},
    **_FROM_HAND,
    **{"hand_axis_x": "1", "hand_axis_y": "1"},
}
_GOAL = {"x": "m", "y": "m", "z": "m", **_FROM_HAND}
_FIXTURE = {"x": "m", "y": "m", "axis_x": "1", "axis_y": "1", "travel": "m"}
_UNITS = (
    _JOINTS
    | _EE
    | {f"env.object{i}.{name}": unit for i in range(OBJECTS) for name, unit in _OBJECT.items()}
    | {f"env.goal{i}.{name}": unit for i in range(GOALS) for name, unit in _GOAL.items()}
    | {f"env.fixture.{name}": unit for name, unit in _FIXTURE.items()}
)

NAMES = tuple(_UNITS)
SIZE = len(NAMES)
EE = NAMES.index("ee.x")
OBJECT = NAMES.index("env.object0.x")
GOAL = NAMES.index("env.goal0.x")
FIXTURE = NAMES.index("env.fixture.x")


def make_spec(*, action_mode: str, image_size: int) -> Spec:
    """The suite's spec: joint targets in rad, or tool poses (x, y, z, pitch, roll, gripper) in the base
    frame.
    """
    low, high = arm.limits()
    bounds = {f"{name}.pos": (low[i] - _SLACK, high[i] + _SLACK) for i, name in enumerate(arm.JOINTS)}
    bounds |= {name: (-1.0, 1.0) for name in NAMES if name.endswith(("axis_x", "axis_y", ".up"))}
    state = {name: (*bounds.get(name, (-_INF, _INF)), unit) for name, unit in _UNITS.items()}
    if action_mode == "joint":
        action = {f"{name}.pos": (low[i], high[i], "rad") for i, name in enumerate(arm.JOINTS)}
        semantics = ActionSemantics(mode="absolute", frame="joint", gripper="position_rad")
    elif action_mode == "ee":
        action = {
            "ee.x": (-0.1, 0.42, "m"),
            "ee.y": (-0.42, 0.42, "m"),
            "ee.z": (0.0, 0.45, "m"),
            "ee.pitch": (-1.2, 2.2, "rad"),
            "ee.roll": (low[4], high[4], "rad"),
            "gripper.pos": (low[5], high[5], "rad"),
        }
        semantics = ActionSemantics(
            mode="absolute", frame="base", rotation="pitch_roll", gripper="position_rad"
        )
    else:
        raise ConfigError(f"action_mode is '{action_mode}'; one of ['joint', 'ee'] is meant")
    return Spec(
        state=Vector.of({name: (float(a), float(b), unit) for name, (a, b, unit) in state.items()}),
        action=Vector.of({name: (float(a), float(b), unit) for name, (a, b, unit) in action.items()}),
        control_hz=CONTROL_HZ,
        semantics=semantics,
        images=squares(CAMERAS, image_size),
        text=True,
    )


def turn_of(pose: np.ndarray) -> np.ndarray:
    """Direction in the table's plane `[...]`, rad, from the fixed to the moving finger of a hand that points
    down, at tool pose `[... 5]`.
    """
    return pose[..., 4] + np.arctan2(pose[..., 1], pose[..., 0])


def seen_by(pose: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Horizontal parts of `vectors [N 2]` in the axes of the hand at tool pose `[5]`."""
    cos, sin = np.cos(turn_of(pose)), np.sin(turn_of(pose))
    return vectors @ np.array([[cos, -sin], [sin, cos]])


def from_hand(pose: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Positions `[N 3]` as the hand at tool pose `[5]` sees them, m."""
    away = places - pose[:3]
    return np.concatenate([seen_by(pose, away[:, :2]), away[:, 2:]], axis=1)


@dataclass(frozen=True)
class Thing:
    """One movable thing: position `[... 3]` m, yaw rad, `up` (1 upright), size (its width) m."""

    position: np.ndarray
    yaw: np.ndarray
    up: np.ndarray
    size: np.ndarray


@dataclass(frozen=True)
class Scene:
    """Names for the parts of states `[... S]`, whether one frame or a whole recording."""

    state: np.ndarray

    @property
    def joints(self) -> np.ndarray:
        """Joint positions `[... 6]`, rad."""
        return self.state[..., :6]

    @property
    def gripper(self) -> np.ndarray:
        """Opening angle `[...]`, rad."""
        return self.state[..., 5]

    @property
    def pose(self) -> np.ndarray:
        """Tool pose `[... 5]`: x, y, z, pitch, roll."""
        return self.state[..., EE : EE + 5]

    @property
    def ee(self) -> np.ndarray:
        """Tool position `[... 3]`, m."""
        return self.state[..., EE : EE + 3]

    def object(self, slot: int) -> Thing:
        """The movable thing in a slot."""
        at = OBJECT + slot * len(_OBJECT)
        x, y, up, size = np.moveaxis(self.state[..., at + 3 : at + 7], -1, 0)
        return Thing(self.state[..., at : at + 3], np.arctan2(y, x), up, size)

    def goal(self, index: int = 0) -> np.ndarray:
        """Goal position `[... 3]`, m."""
        at = GOAL + index * len(_GOAL)
        return self.state[..., at : at + 3]

    @property
    def fixture(self) -> np.ndarray:
        """x, y, cos yaw, sin yaw and travel (m) of the drawer or button `[... 5]`."""
        return self.state[..., FIXTURE : FIXTURE + 5]
