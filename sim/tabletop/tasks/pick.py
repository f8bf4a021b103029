"""Pick up the cube and hold it in the air."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.tabletop.moves import held, pick_up
from sim.tabletop.props import Cube, Pose
from sim.tabletop.state import Scene
from sim.tabletop.task import Move, Plan, Style, Task
from sim.tabletop.workspace import spot

HEIGHT = 0.06  # m, of the cube's centre


class Pick(Task):
    """The cube is high above the table and between the fingers."""

    name = "pick"
    description = "pick up the cube and hold it in the air"
    instructions = ("pick up the red cube", "lift the red cube", "take the red block and hold it up")
    props = (Cube(name="cube"),)
    time_limit = 120

    def place(self, rng: np.random.Generator) -> Mapping[str, Pose]:
        """Anywhere in the workspace."""
        return {"cube": Pose(*spot(rng), z=0.014, yaw=rng.uniform(-np.pi / 4, np.pi / 4))}

    def solved(self, scene: Scene) -> np.ndarray:
        """The cube is 6 cm up and within 3 cm of the tool."""
        cube = scene.object(0)
        near = np.linalg.norm(cube.position - scene.ee, axis=-1) < 0.03
        return near & (cube.position[..., 2] > HEIGHT)

    def plan(self, scene: Scene, style: Style) -> Plan:
        """Grasp, then up."""
        grip, scene = yield from pick_up(scene, 0, style)
        if style.recover and not held(scene, 0):
            return
        up = np.array([*scene.ee[:2], HEIGHT + style.lift / 2])
        yield Move(pose=grip.hand(up, style.tilt), gripper=grip.squeeze, settle=10)
