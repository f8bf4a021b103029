"""A push button on the table, to be pressed down."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.tabletop import arm, fixtures
from sim.tabletop.moves import Grip
from sim.tabletop.props import Pose, spot
from sim.tabletop.state import Scene
from sim.tabletop.task import Move, Plan, Style, Task

_BUTTON = fixtures.Button(name="button")
_PRESSED = 0.009  # m of travel
_TIP = 0.01  # m from the fingertips up to the tool's point
_CLOSED = 0.006  # m between the fingertips


class Button(Task):
    """The button is held down for half a second."""

    name = "button"
    description = "press the button and hold it down"
    instructions = ("press the red button", "push the button down", "hold the red button down")
    props = (_BUTTON,)
    time_limit = 120
    hold = 15

    def place(self, rng: np.random.Generator) -> Mapping[str, Pose]:
        """Anywhere in the workspace."""
        return {"button": Pose(*spot(rng), yaw=rng.uniform(-np.pi / 4, np.pi / 4))}

    def solved(self, scene: Scene) -> np.ndarray:
        """Three quarters of the way down."""
        return scene.fixture[..., 4] > _PRESSED

    def plan(self, scene: Scene, style: Style) -> Plan:
        """Come over it from one side or the other, the closed fingers turned accordingly, and press."""
        place = np.array([*scene.fixture[:2], _BUTTON.height + _TIP])
        fist = Grip(
            roll=style.side * np.pi / 4,
            offset=(arm.PARALLEL_GAP - _CLOSED) / 2,
            open=float(arm.gap_angle(_CLOSED)),
            squeeze=float(arm.gap_angle(_CLOSED)),
        )
        down = np.array([0.0, 0.0, _BUTTON.travel + 0.003])
        for miss in (*style.miss, 0.0):
            aim = place + np.array([0.0, miss, 0.0])
            beside = (scene.ee + aim) / 2 + np.array([0.0, style.side * 0.04, 0.0])
            yield Move(pose=fist.hand(beside, style.tilt), gripper=fist.squeeze, speed=0.2, within=0.02)
            over = aim + np.array([0.0, 0.0, style.lift / 2])
            yield Move(pose=fist.hand(over, style.tilt), gripper=fist.squeeze, speed=0.2, within=0.01)
            pressing = fist.hand(aim - down, style.tilt)
            scene = yield Move(pose=pressing, gripper=fist.squeeze, speed=0.1, settle=20)
            if not style.recover or self.solved(scene):
                return
