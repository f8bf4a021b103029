"""Bring the tool to a ball in the air."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.tabletop.props import Beacon, Pose
from sim.tabletop.state import Scene
from sim.tabletop.task import Move, Plan, Style, Task
from sim.tabletop.workspace import spot


class Reach(Task):
    """The simplest task: the tool's point within 1.5 cm of the ball."""

    name = "reach"
    description = "bring the tool to a ball in the air"
    instructions = ("reach the green ball", "move the hand to the green ball", "touch the green ball")
    props = (Beacon(name="ball"),)
    time_limit = 75

    def place(self, rng: np.random.Generator) -> Mapping[str, Pose]:
        """Anywhere over the workspace, 4 to 16 cm high."""
        x, y = spot(rng)
        return {"ball": Pose(x, y, rng.uniform(0.04, 0.16))}

    def solved(self, scene: Scene) -> np.ndarray:
        """The tool is at the ball."""
        return np.linalg.norm(scene.ee - scene.goal(), axis=-1) < 0.015

    def plan(self, scene: Scene, style: Style) -> Plan:
        """Straight there, or by way of a place beside it."""
        goal, pitch = scene.goal(), style.tilt - 0.4
        half_way = (scene.ee + goal) / 2 + np.array([0.0, 0.02 * style.side, 0.0])
        yield Move(pose=np.array([*half_way, pitch, 0.0]), gripper=0.3, within=0.03)
        yield Move(pose=np.array([*goal, pitch, 0.0]), gripper=0.3, settle=15)
