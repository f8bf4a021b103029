"""The six tasks of robosuite 1.5.1 that are offered, and what to know of each without importing it.

An observation of robosuite holds what it tells of things as one array, `object`; what that is made of, in
which order, stands here, so that a demonstrator can find the things in a state again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_POSE = {"pos": 3, "quat": 4}


def _things(*names: str, **others: int) -> dict[str, int]:
    return {f"{name}_{part}": size for name in names for part, size in _POSE.items()} | others


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be done.

    Args:
        instruction: one line, which observations carry.
        things: what the array `object` holds, in this order: name to number of elements. Quaternions are
            xyzw.
        arms: how many do it.
    """

    instruction: str
    things: Mapping[str, int]
    arms: int = 1

    def things_in(self, told: np.ndarray) -> dict[str, np.ndarray]:
        """The parts of the array `object [N]`, by name."""
        ends = np.cumsum(list(self.things.values()))
        return dict(zip(self.things, np.split(told, ends[:-1]), strict=True))


TASKS = {
    "Lift": Task(
        instruction="lift the red cube",
        things=_things("cube", gripper_to_cube_pos=3),
    ),
    "Stack": Task(
        instruction="stack the red cube on the green cube",
        things=_things("cubeA", "cubeB", cubeA_to_cubeB=3, gripper_to_cubeA=3, gripper_to_cubeB=3),
    ),
    "PickPlaceCan": Task(
        instruction="put the can into its bin",
        things={"Can_to_robot0_eef_pos": 3, "Can_to_robot0_eef_quat": 4, **_things("Can")},
    ),
    "NutAssemblySquare": Task(
        instruction="put the square nut over the square peg",
        things={"SquareNut_to_robot0_eef_pos": 3, "SquareNut_to_robot0_eef_quat": 4, **_things("SquareNut")},
    ),
    "Door": Task(
        instruction="turn the handle and open the door",
        things={
            "door_pos": 3,
            "handle_pos": 3,
            "hinge_qpos": 1,
            "door_to_eef_pos": 3,
            "handle_to_eef_pos": 3,
            "handle_qpos": 1,
        },
    ),
    "TwoArmLift": Task(
        instruction="lift the pot by both handles",
        things=_things("pot", handle0_xpos=3, handle1_xpos=3, gripper0_to_handle0=3, gripper1_to_handle1=3),
        arms=2,
    ),
}
