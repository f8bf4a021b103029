"""Tasks with things that stand: knock a block over, put it into a socket, pour a ball out of a cup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from sim.tabletop import arm
from sim.tabletop.moves import carry, hand_at, held, let_go, pick_up
from sim.tabletop.props import Pose, spot
from sim.tabletop.state import Scene
from sim.tabletop.task import Move, Plan, Style, Task
from sim.tabletop.vessels import Ball, Block, Bowl, Cup, Socket

_PEG = Block(name="peg")
_TALL = Block(name="block", side=0.026, height=0.075)
_CUP = Cup(name="cup")
_BALL = Ball(name="ball")
_BOWL = Bowl(name="bowl")
_POURED = -0.3  # rad: the hand's pitch when the cup is emptied, so its floor is the higher end
_SPOUT = 0.062  # m: how much nearer the arm than the tool the ball lands


class Topple(Task):
    """The block, which stood, lies."""

    name = "topple"
    description = "knock over a standing block"
    instructions = ("knock over the yellow block", "tip the yellow block over", "make the yellow block fall")
    props = (_TALL,)
    time_limit = 120

    def place(self, rng: np.random.Generator) -> Mapping[str, Pose]:
        """Anywhere in the workspace."""
        return {"block": Pose(*spot(rng), z=_TALL.height / 2, yaw=rng.uniform(-np.pi / 4, np.pi / 4))}

    def solved(self, scene: Scene) -> np.ndarray:
        """Its axis is nearly level."""
        return np.abs(scene.object(0).up) < 0.3

    def plan(self, scene: Scene, style: Style) -> Plan:
        """Come down beside it, then sweep through its upper half, from either side."""
        block = scene.object(0).position[:2]
        across = style.side * np.array([-block[1], block[0]]) / np.linalg.norm(block)
        turn = np.arctan2(across[1], across[0])
        high, low = style.lift + 0.04, 0.056

        def at(offset: float, z: float, speed: float = 0.3) -> Move:
            pose = hand_at(np.array([*(block + offset * across), z]), style.tilt - 0.2, turn + np.pi / 2)
            return Move(pose=pose, gripper=0.0, speed=speed, within=0.012, patience=40)

        yield at(0.06, high)
        yield at(0.06, low)
        yield at(-0.04, low, speed=0.25)
        yield at(-0.04, high)


class Peg(Task):
    """The peg stands in the socket, and the hand has let go of it."""

    name = "peg"
    description = "put the peg into the socket"
    instructions = (
        "put the yellow peg into the blue socket",
        "insert the yellow block into the blue hole",
        "stand the yellow peg in the blue frame",
    )
    props = (_PEG, Socket(name="socket"))
    time_limit = 210

    def place(self, rng: np.random.Generator) -> Mapping[str, Pose]:
        """Peg and socket anywhere in the workspace, not upon each other; the hole is square to the base."""
        peg = spot(rng)
        socket = spot(rng, away_from=(peg,), by=0.1)
        yaw = rng.uniform(-np.pi / 4, np.pi / 4)
        return {"peg": Pose(*peg, z=_PEG.height / 2, yaw=yaw), "socket": Pose(*socket)}

    def solved(self, scene: Scene) -> np.ndarray:
        """Upright, within 1 cm of the hole's centre, its foot below the rim, the hand 3 cm away from it."""
        peg = scene.object(0)
        near = np.abs((peg.position - scene.goal())[..., :2]).max(axis=-1) < 0.01
        inside = (peg.up > 0.97) & (peg.position[..., 2] < _PEG.height / 2 + 0.005)
        released = np.linalg.norm(peg.position - scene.ee, axis=-1) > 0.03
        return near & inside & released

    def plan(self, scene: Scene, style: Style) -> Plan:
        """Grasp, carry, turn square to the hole, let down, let go."""
        grip, scene = yield from pick_up(scene, 0, style)
        scene = yield from carry(scene, grip, scene.goal(), style)
        if style.recover and not held(scene, 0):
            return
        askew = (scene.object(0).yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4
        grip = replace(grip, roll=float(np.clip(grip.roll - askew, arm.limits()[0][4], arm.limits()[1][4])))
        over = np.array([*scene.goal()[:2], _PEG.height / 2 + 0.03])
        yield Move(pose=grip.hand(over, style.tilt), gripper=grip.squeeze, speed=0.2, settle=4)
        yield from let_go(grip, np.array([*scene.goal()[:2], _PEG.height / 2 + 0.003]), style)


class Pour(Task):
    """The ball, which was in the cup, lies in the bowl."""

    name = "pour"
    description = "pour the ball out of the cup into the bowl"
    instructions = (
        "pour the ball into the green bowl",
        "tip the red cup over the green bowl",
        "empty the red cup into the green bowl",
    )
    props = (_CUP, _BALL, _BOWL)
    time_limit = 240

    def place(self, rng: np.random.Generator) -> Mapping[str, Pose]:
        """Cup and bowl in the workspace, not upon each other; the ball in the cup."""
        cup = spot(rng)
        bowl = spot(rng, away_from=(cup,), by=0.12, margin=0.03)
        ball = cup + rng.uniform(-0.002, 0.002, 2)
        yaw = rng.uniform(-np.pi / 4, np.pi / 4)
        return {
            "cup": Pose(*cup, z=_CUP.height / 2, yaw=yaw),
            "ball": Pose(*ball, z=_CUP.wall + _BALL.radius),
            "bowl": Pose(*bowl),
        }

    def solved(self, scene: Scene) -> np.ndarray:
        """The ball is within the bowl's walls, below their rim, and not in the cup."""
        cup, ball = scene.object(0), scene.object(1)
        inside = np.abs((ball.position - scene.goal())[..., :2]).max(axis=-1) < _BOWL.hole / 2
        poured = np.linalg.norm(ball.position - cup.position, axis=-1) > 0.03
        return inside & poured & (ball.position[..., 2] < _BOWL.height)

    def plan(self, scene: Scene, style: Style) -> Plan:
        """Grasp the cup, carry it beyond the bowl, and lean the hand back so that it faces the arm."""
        grip, scene = yield from pick_up(scene, 0, style)
        bowl = scene.goal()[:2]
        over = bowl * (1 + _SPOUT / np.linalg.norm(bowl))
        scene = yield from carry(scene, grip, np.array([*over, 0.0]), style)
        if style.recover and not held(scene, 0):
            return
        # Fingers to the left and right of the cup, so that the ball falls between them.
        grip = replace(grip, roll=float(np.copysign(np.pi / 2, grip.roll)))
        high = np.array([*over, 0.17])
        yield Move(pose=grip.hand(high, 1.2), gripper=grip.squeeze, within=0.02)
        for pitch, settle in ((0.3, 0), (_POURED, 20)):
            yield Move(
                pose=grip.hand(high, pitch), gripper=grip.squeeze, speed=0.15, within=0.01, settle=settle
            )
