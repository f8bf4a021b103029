"""Draws a scene from the names in a state, for machines that cannot render.

`<thing>.x .y .z` is a point; `.size`, `.axis_x`, `.axis_y` give it a body and a direction; a thing called
goal is a place; `ee` is the tool, with `ee.pitch` and `gripper.pos`. What a state does not name is not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

INK, WOOD, ROBOT, GOAL = "#37474f", "#eee7dd", "#f2a33a", "#2e9e6b"
COLOURS = ("#d1495b", "#30638e", "#7b5ea7", "#5b8c5a")
FINGER = 0.05  # m, drawn length of the fingers
TURN, RISE = np.deg2rad(20), np.deg2rad(35)  # where one looks from
CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))


def draw(state: dict[str, float], trail: np.ndarray, *, size: tuple[int, int] = (320, 240)) -> np.ndarray:
    """A picture `[h w 3]` uint8 of a scene, from a state's names and values.

    Args:
        state: name to value, in m and rad.
        trail: `[L 3]`, where the tool has been.
        size: width and height in pixels.
    """
    figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-0.26, 0.26)
    axes.set_ylim(-0.17, 0.22)
    _patch(axes, [[-0.05, -0.3, 0], [0.42, -0.3, 0], [0.42, 0.3, 0], [-0.05, 0.3, 0]], WOOD, edge="#d8cdbd")
    names = [name.removesuffix(".x") for name in state if name.endswith(".x") and f"{name[:-1]}y" in state]
    things = [name for name in names if name != "ee" and any(_point(state, name))]
    for name in things:
        if "goal" in name:
            _ring(axes, _point(state, name), 0.022)
    for name in sorted(things, key=lambda thing: -state[f"{thing}.y"]):  # far ones first
        if "goal" not in name:
            _body(axes, state, name, COLOURS[things.index(name) % len(COLOURS)])
    if "ee.x" in state:
        _tool(axes, state, trail)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _project(points: Sequence | np.ndarray) -> np.ndarray:
    """Points `[... 3]` m as seen by someone on the robot's right: `[... 2]`."""
    x, y, z = np.moveaxis(np.asarray(points, float), -1, 0)
    x = x - 0.17
    across, away = x * np.cos(TURN) + y * np.sin(TURN), y * np.cos(TURN) - x * np.sin(TURN)
    return np.stack([across, away * np.sin(RISE) + z * np.cos(RISE)], axis=-1)


def _point(state: dict[str, float], name: str) -> np.ndarray:
    return np.array([state.get(f"{name}.{axis}", 0.0) for axis in "xyz"])


def _patch(
    axes: Axes, corners: Sequence | np.ndarray, colour: str, *, edge: str = "none", alpha: float = 1
) -> None:
    axes.add_patch(Polygon(_project(corners), closed=True, facecolor=colour, edgecolor=edge, alpha=alpha))


def _line(axes: Axes, points: Sequence | np.ndarray, colour: str, width: float, alpha: float = 1.0) -> None:
    flat = _project(points)
    axes.plot(flat[:, 0], flat[:, 1], color=colour, linewidth=width, alpha=alpha, solid_capstyle="round")


def _ring(axes: Axes, centre: np.ndarray, radius: float) -> None:
    turn = np.linspace(0, 2 * np.pi, 40)
    ring = centre + radius * np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=-1)
    _patch(axes, ring, GOAL, alpha=0.25)
    _line(axes, ring, GOAL, 1.6)
    _line(axes, [[centre[0], centre[1], 0], centre], GOAL, 1.0, 0.5)


def _body(axes: Axes, state: dict[str, float], name: str, colour: str) -> None:
    """A box of the thing's size, turned as the thing is."""
    centre = _point(state, name)
    half = state.get(f"{name}.size", 0.05) / 2
    ahead = np.array([state.get(f"{name}.axis_x", 1.0), state.get(f"{name}.axis_y", 0.0), 0.0])
    ahead = half * ahead / max(float(np.linalg.norm(ahead)), 1e-6)
    aside, up = np.array([-ahead[1], ahead[0], 0.0]), np.array([0.0, 0.0, half])
    _patch(axes, [centre * [1, 1, 0] + a * ahead + b * aside for a, b in CORNERS], INK, alpha=0.15)
    eye = np.array([np.sin(TURN), -np.cos(TURN), 0.0])
    for normal, side in ((ahead, aside), (-ahead, aside), (aside, ahead), (-aside, ahead)):
        if normal @ eye > 0:
            face = [centre + normal + a * side + b * up for a, b in CORNERS]
            _patch(axes, face, colour, edge="white", alpha=0.85)
    _patch(axes, [centre + up + a * ahead + b * aside for a, b in CORNERS], colour, edge="white")


def _tool(axes: Axes, state: dict[str, float], trail: np.ndarray) -> None:
    """The tool's way so far, its shadow, the direction it comes from, and its fingers."""
    tip = _point(state, "ee")
    _line(axes, trail, ROBOT, 1.2, 0.6)
    _line(axes, [tip, tip * [1, 1, 0]], INK, 0.8, 0.35)
    pan, pitch = np.arctan2(tip[1], tip[0]), state.get("ee.pitch", np.pi / 2)
    back = -np.array([np.cos(pan) * np.cos(pitch), np.sin(pan) * np.cos(pitch), -np.sin(pitch)])
    aside = np.array([-np.sin(pan), np.cos(pan), 0.0])
    gap = 0.008 + 0.025 * max(state.get("gripper.pos", 0.0), 0.0)
    palm = tip + FINGER * back
    wrist = palm + 0.05 * back
    elbow = 0.5 * wrist + [0, 0, 0.1]
    _line(axes, [[0, 0, 0.1], elbow, wrist], INK, 5.0, 0.12)  # roughly: link lengths are not in the state
    _line(axes, [[0, 0, 0], [0, 0, 0.1]], INK, 7.0, 0.3)
    _line(axes, [wrist, palm], INK, 5.0)
    _line(axes, [palm - gap * aside, palm + gap * aside], INK, 3.0)
    for sign in (-1, 1):
        _line(axes, [palm + sign * gap * aside, tip + sign * gap * aside], INK, 2.6)
