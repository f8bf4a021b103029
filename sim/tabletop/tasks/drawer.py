"""Tasks with a drawer: pull it open by its handle; push it shut."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.tabletop import arm
from sim.tabletop.fixtures import Cabinet
from sim.tabletop.moves import Grip
from sim.tabletop.props import Pose
from sim.tabletop.state import Scene
from sim.tabletop.task import Move, Plan, Style, Task

_CABINET = Cabinet(name="drawer")
_OPEN = 0.06  # m of travel
_SHUT = 0.006
_HEIGHT = 0.03  # m, of the tool at the handle
_ABOVE = np.array([0.0, 0.0, 0.05])
_CLEAR = 0.012  # m between the fixed finger and the handle while the hand comes down
# Widths in m, see `_grip`: a hand that holds the handle, and two fingertips that push it.
_HOLD = {"width": _CABINET.grip, "squeeze": _CABINET.grip - 0.03}
_FORK = {"width": 0.014, "squeeze": 0.014}
_TOUCH = 0.014  # m from the handle's middle to the tool when the fingers' sides touch it


class Drawer(Task):
    """The drawer is open far enough; where the hand is does not matter."""

    name = "drawer"
    description = "pull the drawer open by its handle"
    instructions = ("open the drawer", "pull the drawer open", "slide the drawer out by its handle")
    props = (_CABINET,)

    def place(self, rng: np.random.Generator) -> Mapping[str, Pose]:
        """Ahead of the arm and shut."""
        return {"drawer": _stand(rng, travel=0.0)}

    def solved(self, scene: Scene) -> np.ndarray:
        """Open by 6 cm."""
        return scene.fixture[..., 4] > _OPEN

    def plan(self, scene: Scene, style: Style) -> Plan:
        """Grasp the handle, the fixed finger on one side of it or the other, pull, let go."""
        for miss in (*style.miss, 0.0):
            begin = scene.fixture[4] + abs(miss)  # a miss closes the fingers in front of the handle
            end = _OPEN + 0.012 + abs(miss)
            here, there = _handle(scene, begin), _handle(scene, end)
            grip = _grip(scene, here, style, **_HOLD)
            pull = _grip(scene, there, style, **_HOLD)
            over = grip.hand(here + _ABOVE, style.tilt, _CLEAR)
            yield Move(pose=over, gripper=grip.open, speed=0.2, within=0.012)
            yield Move(pose=grip.hand(here, style.tilt, _CLEAR), gripper=grip.open, speed=0.15)
            yield Move(pose=grip.hand(here, style.tilt), gripper=grip.squeeze, within=0.01, settle=8)
            scene = yield Move(pose=pull.hand(there, style.tilt), gripper=grip.squeeze, speed=0.12)
            yield Move(pose=pull.hand(there, style.tilt, 0.004), gripper=grip.open, within=0.02, settle=5)
            scene = yield Move(pose=pull.hand(there + _ABOVE, style.tilt), gripper=grip.open, within=0.02)
            if not style.recover or self.solved(scene):
                return


class DrawerClose(Task):
    """The drawer is shut; where the hand is does not matter."""

    name = "drawer_close"
    description = "push the open drawer shut"
    instructions = ("close the drawer", "push the drawer shut", "slide the drawer back in")
    props = (_CABINET,)

    def place(self, rng: np.random.Generator) -> Mapping[str, Pose]:
        """Ahead of the arm and open by 4 to 7 cm."""
        return {"drawer": _stand(rng, travel=rng.uniform(0.04, 0.07))}

    def solved(self, scene: Scene) -> np.ndarray:
        """Open by less than 6 mm."""
        return scene.fixture[..., 4] < _SHUT

    def plan(self, scene: Scene, style: Style) -> Plan:
        """Come down in front of the handle from one side or the other, push."""
        for ahead, above in ((0.03, _ABOVE), (0.015, 0 * _ABOVE)):
            place = _handle(scene, scene.fixture[4] + _TOUCH + ahead) + above
            fork = _grip(scene, place, style, **_FORK)
            yield Move(pose=fork.hand(place, style.tilt), gripper=fork.squeeze, speed=0.2, within=0.008)
        shut = _handle(scene, _TOUCH - 0.004)
        fork = _grip(scene, shut, style, **_FORK)
        yield Move(pose=fork.hand(shut, style.tilt), gripper=fork.squeeze, speed=0.12, settle=8)


def _stand(rng: np.random.Generator, *, travel: float) -> Pose:
    """A place and a little turn for the cabinet at which the handle is in reach, open or shut."""
    radius, angle = rng.uniform(0.25, 0.28), rng.uniform(-0.5, 0.5)
    yaw = angle + np.pi + rng.uniform(-0.3, 0.3)
    return Pose(radius * np.cos(angle), radius * np.sin(angle), yaw=yaw, travel=travel)


def _handle(scene: Scene, travel: float) -> np.ndarray:
    """Where to hold the handle when the drawer is open by `travel` m: `[3]`."""
    x, y, cos, sin, _ = scene.fixture
    out = _CABINET.handle + travel
    return np.array([x + out * cos, y + out * sin, _HEIGHT])


def _grip(scene: Scene, place: np.ndarray, style: Style, *, width: float, squeeze: float) -> Grip:
    """A grip at `place [3]` in line with the drawer's front; the style says which finger is at which side.

    The fingers close upon a `width` m, or where nothing is between them to `squeeze` m.
    """
    turn = np.arctan2(scene.fixture[3], scene.fixture[2]) + style.side * np.pi / 2
    return Grip(
        roll=float(arm.wrap(turn - np.arctan2(place[1], place[0]))),
        offset=(arm.PARALLEL_GAP - width) / 2,
        open=float(arm.gap_angle(width + 0.04)),
        squeeze=float(arm.gap_angle(squeeze)),
    )
