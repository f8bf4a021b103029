"""Stacking: one cube is set down on another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.tabletop.moves import carry, held, let_go, pick_up
from sim.tabletop.props import BLUE, Cube, Pose, spot
from sim.tabletop.state import Scene
from sim.tabletop.task import Plan, Style, Task


class Stack(Task):
    """The red cube lies on the blue one, and the hand has let go of it."""

    name = "stack"
    description = "put the red cube on top of the blue cube"
    instructions = (
        "stack the red cube on the blue cube",
        "put the red cube on top of the blue cube",
        "place the red block on the blue block",
    )
    props = (Cube(name="red"), Cube(name="blue", rgba=BLUE))
    time_limit = 180

    def place(self, rng: np.random.Generator) -> Mapping[str, Pose]:
        """Both anywhere in the workspace, with room for the hand between them."""
        red = spot(rng)
        blue = spot(rng, away_from=(red,), by=0.085)
        yaws = rng.uniform(-np.pi / 4, np.pi / 4, 2)
        return {"red": Pose(*red, z=0.014, yaw=yaws[0]), "blue": Pose(*blue, z=0.014, yaw=yaws[1])}

    def solved(self, scene: Scene) -> np.ndarray:
        """The red cube lies on the blue one, its middle above it, the hand 3 cm away."""
        red, blue = scene.object(0), scene.object(1)
        apart = red.position - blue.position
        above = np.linalg.norm(apart[..., :2], axis=-1) < red.size / 2
        resting = np.abs(apart[..., 2] - (red.size + blue.size) / 2) < 0.004
        released = np.linalg.norm(red.position - scene.ee, axis=-1) > 0.03
        return above & resting & released

    def plan(self, scene: Scene, style: Style) -> Plan:
        """Grasp, carry, let go."""
        grip, scene = yield from pick_up(scene, 0, style)
        scene = yield from carry(scene, grip, scene.object(1).position, style)
        if style.recover and not held(scene, 0):
            return
        red, blue = scene.object(0), scene.object(1)
        top = blue.position + np.array([0.0, 0.0, (red.size + blue.size) / 2 + 0.002])
        yield from let_go(grip, top, style)
