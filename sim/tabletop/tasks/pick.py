"""Tasks that need one grasp: pick up the cube; set it down in the target zone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.tabletop.moves import carry, held, let_go, pick_up
from sim.tabletop.props import Cube, Pose, Zone, spot
from sim.tabletop.state import Scene
from sim.tabletop.task import Move, Plan, Style, Task

_HEIGHT = 0.06  # m, of the cube's centre when it counts as picked up


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
        return near & (cube.position[..., 2] > _HEIGHT)

    def plan(self, scene: Scene, style: Style) -> Plan:
        """Grasp, then up."""
        grip, scene = yield from pick_up(scene, 0, style)
        if style.recover and not held(scene, 0):
            return
        up = np.array([*scene.ee[:2], _HEIGHT + style.lift / 2])
        yield Move(pose=grip.hand(up, style.tilt), gripper=grip.squeeze, settle=10)


class PickPlace(Task):
    """The cube lies in the zone, and the hand has let go of it."""

    name = "pick_place"
    description = "pick up the cube and set it down in the target zone"
    instructions = (
        "put the red cube in the blue zone",
        "pick up the red cube and place it on the blue circle",
        "move the red block to the blue target",
    )
    props = (Cube(name="cube"), Zone(name="zone"))
    time_limit = 180

    def place(self, rng: np.random.Generator) -> Mapping[str, Pose]:
        """Cube and zone anywhere in the workspace, not upon each other."""
        cube = spot(rng)
        zone = spot(rng, away_from=(cube,))
        yaw = rng.uniform(-np.pi / 4, np.pi / 4)
        return {"cube": Pose(*cube, z=0.014, yaw=yaw), "zone": Pose(*zone, z=0.0006)}

    def solved(self, scene: Scene) -> np.ndarray:
        """Within 3.5 cm of the zone's centre, lying on the table, the hand 3 cm away from it."""
        cube = scene.object(0)
        near = np.linalg.norm((cube.position - scene.goal())[..., :2], axis=-1) < 0.035
        lying = cube.position[..., 2] < cube.size / 2 + 0.004
        released = np.linalg.norm(cube.position - scene.ee, axis=-1) > 0.03
        return near & lying & released

    def plan(self, scene: Scene, style: Style) -> Plan:
        """Grasp, carry, let go."""
        grip, scene = yield from pick_up(scene, 0, style)
        scene = yield from carry(scene, grip, scene.goal(), style)
        if style.recover and not held(scene, 0):
            return
        place = np.array([*scene.goal()[:2], scene.object(0).size / 2 + 0.002])
        yield from let_go(grip, place, style)
