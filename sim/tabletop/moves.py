"""Parts of plans that several tasks share: to go over, to grasp, to carry, to let go.

Each is a generator of moves that returns the scene as it was when its last move was done, so that plans read
in the order of the motion: `grip, scene = yield from pick_up(scene, 0, style)`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from sim.tabletop import arm
from sim.tabletop.state import Scene
from sim.tabletop.task import Move, Style

FLOOR = 0.013  # lowest the tool's point goes: the fingertips are 1 cm below it
_CLEAR = 0.012  # between the fixed finger and a thing while the hand comes down
_TURNS = np.arange(4) * np.pi / 2


def hand_at(place: np.ndarray, pitch: float, turn: float) -> np.ndarray:
    """The tool's pose `[5]` at `place [3]` with the fingers in line with `turn` (rad), either way.

    Where the arm cannot reach so steeply, the hand leans ahead.
    """
    x, y, z = place[0], place[1], max(place[2], FLOOR)
    roll = (turn - np.arctan2(y, x) + np.pi / 2) % np.pi - np.pi / 2
    return np.array([x, y, z, arm.steepest(np.array([x, y, z]), pitch), roll])


@dataclass(frozen=True)
class Grip:
    """How a thing is held.

    Args:
        roll: of the hand, kept while it carries: the thing turns with the arm.
        offset: of the tool from the thing's centre, along the line from the fixed to the moving finger, m.
        open: gripper angle that lets go, rad.
        squeeze: gripper angle that holds, rad.
    """

    roll: float
    offset: float
    open: float
    squeeze: float

    def turn(self, place: np.ndarray) -> float:
        """Direction in the table's plane from the fixed to the moving finger at `place`, rad, hand down."""
        return self.roll + np.arctan2(place[1], place[0])

    def hand(self, place: np.ndarray, pitch: float, slack: float = 0.0) -> np.ndarray:
        """The tool's pose `[5]` with the thing at `place [3]`, the fixed finger `slack` m away from it.

        Where the arm cannot reach so steeply, the hand leans ahead.
        """
        shift, turn = self.offset - slack, self.turn(place)
        x, y = place[0] + shift * np.cos(turn), place[1] + shift * np.sin(turn)
        z = max(place[2], FLOOR)
        return np.array([x, y, z, arm.steepest(np.array([x, y, z]), pitch), self.roll])


def choose_grip(scene: Scene, slot: int, style: Style) -> Grip:
    """Close across two faces of a cube: those that turn the wrist least, or (`style.side` -1) the others."""
    thing = scene.object(slot)
    rolls = arm.wrap(thing.yaw - np.arctan2(thing.position[1], thing.position[0]) + _TURNS)
    rolls = rolls[np.argsort(np.abs(rolls))]
    return Grip(
        roll=float(rolls[0] if style.side > 0 else rolls[1]),
        offset=arm.PARALLEL_GAP / 2 - float(thing.size) / 2,
        open=float(arm.gap_angle(thing.size + 0.04)),
        squeeze=float(arm.gap_angle(thing.size - 0.03)),
    )


def pick_up(scene: Scene, slot: int, style: Style) -> Generator[Move, Scene, tuple[Grip, Scene]]:
    """Grasp a thing from above and lift it; miss as the style says, and try again if it recovers."""
    for miss in (*style.miss, 0.0):
        grip = choose_grip(scene, slot, style)
        thing = scene.object(slot).position
        turn = grip.turn(thing)
        aim = thing + miss * np.array([-np.sin(turn), np.cos(turn), 0.0])
        over = np.array([aim[0], aim[1], aim[2] + 0.055])
        yield Move(pose=grip.hand(over, style.tilt, _CLEAR), gripper=grip.open, within=0.012)
        yield Move(pose=grip.hand(aim, style.tilt, _CLEAR), gripper=grip.open, speed=0.2, within=0.005)
        yield Move(pose=grip.hand(aim, style.tilt), gripper=grip.squeeze, within=0.01, settle=8)
        up = np.array([aim[0], aim[1], style.lift])
        scene = yield Move(pose=grip.hand(up, style.tilt), gripper=grip.squeeze, within=0.015)
        if not style.recover or held(scene, slot):
            break
    return grip, scene


def carry(scene: Scene, grip: Grip, goal: np.ndarray, style: Style) -> Generator[Move, Scene, Scene]:
    """Bring the held thing over `goal [3]` at the height of the style, round the side of the style."""
    here, there = scene.ee[:2], goal[:2]
    across = np.array([here[1] - there[1], there[0] - here[0]])
    bow = style.side * 0.15 * across
    middle = np.array([*((here + there) / 2 + bow), style.lift])
    yield Move(pose=grip.hand(middle, style.tilt), gripper=grip.squeeze, within=0.03)
    over = np.array([*there, style.lift])
    scene = yield Move(pose=grip.hand(over, style.tilt), gripper=grip.squeeze, within=0.012)
    return scene


def let_go(grip: Grip, place: np.ndarray, style: Style) -> Generator[Move, Scene, Scene]:
    """Set the held thing down with its centre at `place [3]`, open, and leave upward."""
    yield Move(pose=grip.hand(place, style.tilt), gripper=grip.squeeze, speed=0.2, within=0.006)
    yield Move(pose=grip.hand(place, style.tilt, 0.004), gripper=grip.open, within=0.02, settle=5)
    away = np.array([place[0], place[1], place[2] + 0.06])
    scene = yield Move(pose=grip.hand(away, style.tilt, 0.004), gripper=grip.open, settle=10)
    return scene


def held(scene: Scene, slot: int) -> bool:
    """Whether a thing is off the table and between the fingers."""
    thing = scene.object(slot)
    near = np.linalg.norm(thing.position - scene.ee) < 0.03
    return bool(near and thing.position[2] > thing.size / 2 + 0.015)
