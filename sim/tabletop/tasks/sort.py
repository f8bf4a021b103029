"""Sorting: two cubes, each to be brought to the zone of its colour."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.tabletop.moves import carry, held, let_go, pick_up
from sim.tabletop.props import BLUE, Cube, Pose, Zone, spot
from sim.tabletop.state import Scene
from sim.tabletop.task import Plan, Style, Task

# Of the cubes' own colours the zones would hide them.
_PALE_RED = (0.95, 0.60, 0.56, 1.0)
_PALE_BLUE = (0.42, 0.56, 0.90, 1.0)


class Sort(Task):
    """Both cubes lie in their zones, and the hand has let go of them; the order does not matter."""

    name = "sort"
    description = "bring two cubes to the zones of their colours"
    instructions = (
        "sort the cubes by colour",
        "put each cube in the zone of its colour",
        "move the red cube to the red circle and the blue cube to the blue circle",
    )
    props = (
        Cube(name="red"),
        Cube(name="blue", rgba=BLUE),
        Zone(name="red_zone", rgba=_PALE_RED),
        Zone(name="blue_zone", rgba=_PALE_BLUE),
    )
    time_limit = 300

    def place(self, rng: np.random.Generator) -> Mapping[str, Pose]:
        """All four anywhere in the workspace, with room for the hand between them."""
        apart = 0.0
        while apart < 0.085:  # drawn together: three places can leave no room for a fourth
            places = np.stack([spot(rng) for _ in range(4)])
            apart = min(np.linalg.norm(places[i] - places[j]) for i in range(4) for j in range(i))
        yaws = rng.uniform(-np.pi / 4, np.pi / 4, 2)
        return {
            "red": Pose(*places[0], z=0.014, yaw=yaws[0]),
            "blue": Pose(*places[1], z=0.014, yaw=yaws[1]),
            "red_zone": Pose(*places[2], z=0.0006),
            "blue_zone": Pose(*places[3], z=0.0006),
        }

    def solved(self, scene: Scene) -> np.ndarray:
        """Each is sorted."""
        return _sorted(scene, 0) & _sorted(scene, 1)

    def plan(self, scene: Scene, style: Style) -> Plan:
        """One colour, then the other; the style says which first."""
        for slot in (0, 1)[:: style.side]:
            if _sorted(scene, slot):
                continue
            grip, scene = yield from pick_up(scene, slot, style)
            scene = yield from carry(scene, grip, scene.goal(slot), style)
            if style.recover and not held(scene, slot):
                return
            place = np.array([*scene.goal(slot)[:2], scene.object(slot).size / 2 + 0.002])
            scene = yield from let_go(grip, place, style)


def _sorted(scene: Scene, slot: int) -> np.ndarray:
    """Within 3.5 cm of its zone's centre, lying on the table, the hand 3 cm away from it."""
    cube = scene.object(slot)
    near = np.linalg.norm((cube.position - scene.goal(slot))[..., :2], axis=-1) < 0.035
    lying = cube.position[..., 2] < cube.size / 2 + 0.004
    return near & lying & (np.linalg.norm(cube.position - scene.ee, axis=-1) > 0.03)
