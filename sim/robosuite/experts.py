"""Demonstrators of robosuite's tasks: how each is done, from the poses of hands and things alone.

What never moves (bins, peg) and how things are shaped is written here as robosuite's models have it. They are
made for Panda's hand: slower grippers, as UR5e's, let the cube slip.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from sim.robosuite.moves import CLOSED, OPEN, Move, Plan, Scene, Style, down, nearest, yaw_of
from sim.scripted import PRESETS as NOISE
from sim.scripted import Noise

_UP = np.array([0.0, 0.0, 1.0])
_TABLE = 0.8  # m, of all tasks that have one
_CUBES = 0.045  # m between the middles of Stack's cubes, one on the other
_BIN = np.array([0.1975, 0.4025, 0.86])  # m, the middle of the can's bin, the can standing
_OVER_WALLS = 0.2  # m to lift the can by
_PEG = np.array([0.23, 0.1, 0.95])  # m, the top of the square peg
_HANDLE = 0.06  # m from the middle of the nut to where its handle is held
# Of the door, with x along it towards the hinge and y through it to the back, m.
_HINGE = np.array([0.255, 0.0, 0.0])
_LATCH = np.array([-0.175, -0.1, -0.025])  # what the handle turns about, in the plane of the handle
_HANDLE_TIP = 0.125  # from there to robosuite's point of the handle
_HELD = 0.105  # from there to where it is held
_FROM_THE_FRONT = Rotation.from_matrix([[0, -1, 0], [0, 0, 1], [-1, 0, 0]])  # fingers over and under it
_UNLOCKED = 1.3  # rad, the handle's turn
_OPENED = 0.36  # rad, the door's; 0.3 is asked for, 0.4 is all it can


@dataclass(frozen=True, kw_only=True)
class Quality(Noise):
    """As `Noise`, and in how many ways.

    Args:
        varied: each episode draws which of two good grasps it takes, how high it carries things and on which
            side; otherwise it goes the nearest way.
    """

    varied: bool = False

    def style(self, rng: np.random.Generator) -> Style:
        """The way of one episode."""
        return Style.drawn(rng) if self.varied else Style()


PRESETS = {name: Quality(**asdict(noise), varied=name == "mixed") for name, noise in NOISE.items()} | {
    "varied": Quality(description="a steady hand; another way each time", varied=True)
}


def lift(scene: Scene, style: Style) -> Plan:
    """Raise the cube, and hold it where the episode goes on."""
    scene = yield from _grasp(scene, lambda now: _cube(now, "cube", style), height=0.1)
    while scene.things["cube_pos"][2] > _TABLE + 0.05:
        scene = yield _still(scene, CLOSED)


def stack(scene: Scene, style: Style) -> Plan:
    """Set the red cube down on the green one."""
    scene = yield from _grasp(scene, lambda now: _cube(now, "cubeA", style), height=0.1 + style.height)
    scene = yield from _carry(scene, "cubeA", scene.things["cubeB_pos"], style)
    if scene.things["cubeA_pos"][2] < scene.things["cubeB_pos"][2] + _CUBES:
        return  # it slipped
    yield from _set_down(scene, "cubeA", scene.things["cubeB_pos"] + (_CUBES + 0.003) * _UP)


def pick_place_can(scene: Scene, style: Style) -> Plan:
    """Put the can into its bin."""
    yaw = nearest(scene.yaw(), np.pi / 2, np.pi / 2, style)
    height = _OVER_WALLS + style.height
    scene = yield from _grasp(scene, lambda now: (now.things["Can_pos"] + 0.01 * _UP, yaw), height=height)
    scene = yield from _carry(scene, "Can", _BIN, style)
    if scene.things["Can_pos"][2] < _BIN[2] + 0.05:
        return
    yield from _set_down(scene, "Can", _BIN + 0.02 * _UP)


def nut_assembly_square(scene: Scene, style: Style) -> Plan:
    """Hold the nut by its handle, turn it like the peg and let it slide down."""
    scene = yield from _grasp(scene, lambda now: _nut_handle(now, style), height=0.17 + style.height)
    for within in (0.02, 0.005):
        scene = yield _nut_over_peg(scene, _PEG[2] + 0.05, within)
    nut = scene.things["SquareNut_pos"]
    if np.linalg.norm((nut - _PEG)[:2]) > 0.02 or nut[2] < _PEG[2]:
        return
    scene = yield _nut_over_peg(scene, _PEG[2] - 0.04, 0.01)
    yield _still(scene, OPEN)


def door(scene: Scene, style: Style) -> Plan:
    """Take the handle from the front, turn it down and pull."""
    hold = _door(scene)
    yield hold(0.0, 0.0, OPEN, before=0.12)
    yield hold(0.0, 0.0, OPEN)
    yield hold(0.0, 0.0, CLOSED)
    for share in (0.25, 0.5, 0.75, 1.0):
        yield hold(0.0, share * _UNLOCKED, CLOSED)
    for share in (0.25, 0.5, 0.75, 1.0):
        scene = yield hold(share * _OPENED, _UNLOCKED, CLOSED)
    yield _still(scene, OPEN)


def two_arm_lift(scene: Scene, style: Style) -> Plan:
    """Grasp both handles from above, raise the pot, and hold it where the episode goes on."""
    yaw = yaw_of(scene.things["pot_quat"]) + np.pi / 2
    turns = down([nearest(yaw, scene.yaw(hand), np.pi) for hand in range(2)])
    handles = np.stack([scene.things[f"handle{hand}_xpos"] for hand in range(2)])
    yield Move(at=handles + 0.08 * _UP, turns=turns, grip=OPEN, within=0.02)
    yield Move(at=handles, turns=turns, grip=OPEN, within=0.01)
    yield Move(at=handles, turns=turns, grip=CLOSED, within=0.02, wait=True)
    scene = yield Move(at=handles + 0.16 * _UP, turns=turns, grip=CLOSED, speed=0.5)
    while scene.things["pot_pos"][2] > _TABLE + 0.12:
        scene = yield _still(scene, CLOSED)


PLANS: dict[str, Callable[[Scene, Style], Plan]] = {
    "Lift": lift,
    "Stack": stack,
    "PickPlaceCan": pick_place_can,
    "NutAssemblySquare": nut_assembly_square,
    "Door": door,
    "TwoArmLift": two_arm_lift,
}

Part = Generator[Move, Scene, Scene]


def _grasp(scene: Scene, find: Callable[[Scene], tuple[np.ndarray, float]], *, height: float) -> Part:
    """Grasp from above what `find` finds, a place [3] and a direction of the fingers, and lift it."""
    place, yaw = find(scene)
    over, turns = place + 0.08 * _UP, down([yaw])
    scene = yield Move(at=over[None], turns=turns, grip=OPEN, within=0.02)
    place = find(scene)[0]  # it fell a little when the episode began
    yield Move(at=place[None], turns=turns, grip=OPEN, within=0.008)
    yield Move(at=place[None], turns=turns, grip=CLOSED, within=0.02, wait=True)
    up = place + height * _UP
    return (yield Move(at=up[None], turns=turns, grip=CLOSED, within=0.02))


def _carry(scene: Scene, name: str, goal: np.ndarray, style: Style) -> Part:
    """Bring a held thing over `goal [3]` at the height where it is."""
    for share, within in (
        ((0.5, 0.04), (1.0, 0.02), (1.0, 0.008)) if style.side else ((1.0, 0.02), (1.0, 0.008))
    ):
        way = (goal - scene.things[f"{name}_pos"]) * [1, 1, 0]
        bow = 0.3 * style.side * np.array([-way[1], way[0], 0.0]) if share < 1 else np.zeros(3)
        at = scene.hands + share * way + bow
        scene = yield Move(at=at, turns=scene.turns, grip=CLOSED, within=within)
    return scene


def _set_down(scene: Scene, name: str, goal: np.ndarray) -> Part:
    """Lower a held thing to `goal [3]`, let go and leave upward."""
    at = scene.hands + goal - scene.things[f"{name}_pos"]
    scene = yield Move(at=at, turns=scene.turns, grip=CLOSED, speed=0.4, within=0.006)
    yield _still(scene, OPEN)
    return (yield Move(at=scene.hands + 0.1 * _UP, turns=scene.turns, grip=OPEN, within=0.02))


def _still(scene: Scene, grip: float) -> Move:
    return Move(at=scene.hands, turns=scene.turns, grip=grip, within=0.03, wait=True)


def _cube(scene: Scene, name: str, style: Style) -> tuple[np.ndarray, float]:
    """Where to grasp a cube, across two of its faces."""
    yaw = yaw_of(scene.things[f"{name}_quat"])
    return scene.things[f"{name}_pos"], nearest(yaw, scene.yaw(), np.pi / 2, style)


def _nut_handle(scene: Scene, style: Style) -> tuple[np.ndarray, float]:
    """Where to grasp the nut, across its handle."""
    yaw = yaw_of(scene.things["SquareNut_quat"])
    along = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    return scene.things["SquareNut_pos"] + _HANDLE * along, nearest(yaw + np.pi / 2, scene.yaw(), np.pi)


def _nut_over_peg(scene: Scene, height: float, within: float) -> Move:
    """Bring the held nut over the peg with its middle at `height`, turned by the least that makes it fit.

    Its handle may point to the sides or back: away from the robot it is too far to be held upright.
    """
    nut, yaw = scene.things["SquareNut_pos"], yaw_of(scene.things["SquareNut_quat"])
    fits = np.pi / 2 * np.array([1, 2, 3])
    off = np.remainder(fits - yaw + np.pi, 2 * np.pi) - np.pi
    turn = Rotation.from_euler("z", off[np.abs(off).argmin()])
    level = down([scene.yaw()])
    at = np.array([*_PEG[:2], height]) + turn.apply(scene.hands[0] - nut)
    return Move(at=at[None], turns=turn * level, grip=CLOSED, speed=0.6, within=within)


def _door(scene: Scene) -> Callable[..., Move]:
    """Gives moves that hold the handle with the door opened and the handle turned so far, rad."""
    things = scene.things
    middle, turn = things["door_pos"], float(things["handle_qpos"][0])
    tip, seen = _LATCH + _HANDLE_TIP * np.array([np.cos(turn), 0.0, 0.0]), things["handle_pos"] - middle
    yaw = np.arctan2(seen[1], seen[0]) - np.arctan2(tip[1], tip[0])
    hinge = middle + Rotation.from_euler("z", yaw).apply(_HINGE)

    def hold(opened: float, turned: float, grip: float, *, before: float = 0.0) -> Move:
        frame, handle = Rotation.from_euler("z", yaw + opened), Rotation.from_euler("y", turned)
        held = _LATCH + handle.apply([_HELD, 0.0, 0.0]) - [0.0, before, 0.0]
        return Move(
            at=(hinge + frame.apply(held - _HINGE))[None],
            turns=Rotation.concatenate([frame * handle * _FROM_THE_FRONT]),
            grip=grip,
            within=0.02,
            wait=grip == CLOSED and not turned,
        )

    return hold
