"""Tasks that need no grasp: bring the tool to a ball; push the cube into the target zone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.tabletop.moves import FLOOR, hand_at
from sim.tabletop.props import Beacon, Cube, Pose, Zone, spot
from sim.tabletop.state import Scene
from sim.tabletop.task import Move, Plan, Style, Task

_BEHIND = 0.05  # m from the cube's centre: where the hand comes down
_TOUCH = 0.023  # m from the cube's centre: where the fingers' backs touch it
_FORK = -0.03  # gripper angle: two fingertips 14 mm apart keep the cube from turning away


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


class Push(Task):
    """The cube lies in the zone; how it came there does not matter."""

    name = "push"
    description = "push the cube along the table into the target zone"
    instructions = (
        "push the red cube into the blue zone",
        "slide the red cube onto the blue circle",
        "shove the red block to the blue target",
    )
    props = (Cube(name="cube"), Zone(name="zone"))
    time_limit = 180

    def place(self, rng: np.random.Generator) -> Mapping[str, Pose]:
        """The zone 8 to 14 cm from the cube."""
        while True:
            cube, zone = spot(rng, margin=0.02), spot(rng, margin=0.01)
            if 0.08 < np.linalg.norm(cube - zone) < 0.14:
                break
        yaw = rng.uniform(-np.pi / 4, np.pi / 4)
        return {"cube": Pose(*cube, z=0.014, yaw=yaw), "zone": Pose(*zone, z=0.0006)}

    def solved(self, scene: Scene) -> np.ndarray:
        """Within 2.5 cm of the zone's centre, lying on the table."""
        cube = scene.object(0)
        near = np.linalg.norm((cube.position - scene.goal())[..., :2], axis=-1) < 0.025
        return near & (cube.position[..., 2] < cube.size / 2 + 0.004)

    def plan(self, scene: Scene, style: Style) -> Plan:
        """Get behind the cube, push a little, look, and get behind it again where it has slipped aside."""

        def tool(place: np.ndarray, z: float, way: np.ndarray, speed: float, within: float) -> Move:
            across = np.arctan2(way[1], way[0]) + np.pi / 2
            pose = hand_at(np.array([*place, z]), 1.5, across)
            return Move(pose=pose, gripper=_FORK, speed=speed, within=within, patience=40)

        for _ in range(4):
            cube, goal = scene.object(0).position[:2], scene.goal()[:2]
            way = (goal - cube) / np.linalg.norm(goal - cube)
            behind = cube - _BEHIND * way
            round_it = behind + 0.03 * style.side * np.array([-way[1], way[0]])
            yield tool(round_it, style.lift, way, 0.3, 0.03)
            yield tool(behind, style.lift * 0.7, way, 0.3, 0.012)
            scene = yield tool(behind, FLOOR + 0.003, way, 0.3, 0.008)
            while True:
                cube = scene.object(0).position[:2]
                left = np.linalg.norm(goal - cube)
                way = (goal - cube) / max(left, 1e-6)
                beside = abs(way[0] * (scene.ee - scene.goal())[1] - way[1] * (scene.ee - scene.goal())[0])
                if left < 0.006 or beside > 0.012:
                    break
                ahead = cube - way * (_TOUCH - min(left, 0.025))
                scene = yield tool(ahead, FLOOR + 0.003, way, 0.15, 0.01)
            if left < 0.015:
                yield tool(cube - _BEHIND * way, FLOOR + 0.003, way, 0.2, 0.01)
                return
