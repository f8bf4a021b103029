"""Where things are in an arm's scene, read from the recorded state in m and rad."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.ogbench.state import BUTTON, CENTRE, DM, DRAWER, GRIPPER, WINDOW
from sim.ogbench.tasks import Domain

_ROBOT, _CUBE, _BUTTON = 19, 9, 4  # elements of the state


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A moment of an arm and C cubes, N buttons, a drawer and a window.

    Args:
        hand: `[3]`.
        yaw: of the hand.
        closed: how far the gripper is, 0 to 1.
        contact: how hard it presses, 0 to 1.
        cubes: `[C 3]`.
        yaws: `[C]`, of the cubes.
        on: `[N]` bool, which state each button is in.
        tops: `[N 3]`, where it is pressed.
        drawer, window: how far they are moved, -0.16 (open) to 0 and 0 to 0.2 (open).
    """

    hand: np.ndarray
    yaw: float
    closed: float
    contact: float
    cubes: np.ndarray
    yaws: np.ndarray
    on: np.ndarray
    tops: np.ndarray
    drawer: float
    window: float

    @staticmethod
    def of(domain: Domain, state: np.ndarray) -> Scene:
        """What a state `[S]` of a domain shows, whatever its precision."""
        state = state.astype(np.float64)
        robot, rest = np.split(state, [_ROBOT])
        cubes, rest = np.split(rest, [_CUBE * domain.cubes])
        buttons, fixtures = np.split(rest, [_BUTTON * len(domain.buttons)])
        cubes, buttons = cubes.reshape(-1, _CUBE), buttons.reshape(-1, _BUTTON)
        drawer, window = fixtures[[0, 2]] if domain.fixtures else (0.0, 0.0)
        tops = np.reshape(domain.buttons, (-1, 3)) + np.outer(buttons[:, 2] / BUTTON, [0, 0, 1])
        return Scene(
            hand=robot[12:15] / DM + CENTRE,
            yaw=float(np.arctan2(robot[16], robot[15])),
            closed=robot[17] / GRIPPER,
            contact=robot[18],
            cubes=cubes[:, :3] / DM + CENTRE,
            yaws=np.arctan2(cubes[:, 8], cubes[:, 7]),
            on=buttons[:, 1] > 0.5,
            tops=tops,
            drawer=drawer / DRAWER,
            window=window / WINDOW,
        )


def drawer_handle(moved: float) -> np.ndarray:
    """Where `[3]` the drawer's handle is when it is moved so far."""
    return np.array([0.33, -0.24 - moved, 0.08])


def window_handle(moved: float) -> np.ndarray:
    """Where `[3]` the window's handle is when it is moved so far."""
    return np.array([0.286 + moved, 0.225, 0.237])
