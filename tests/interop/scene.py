"""The recording that both sides write and look for: every value follows from (episode, frame).

Vectors and scalars must come back exactly. A frame has four quadrants of plain colour, so that a flip, a
swap of channels or of height and width, or the neighbouring frame is told apart from what lossy video
does to a colour.
"""

from __future__ import annotations

import numpy as np

FPS = 30
ROBOT_TYPE = "interop_arm"
ROBOT = ("shoulder.pos", "elbow.pos", "gripper.pos")
WORLD = ("env.cube.x", "env.cube.y")
ACTION = ("shoulder.pos", "elbow.pos", "gripper.pos")
CAMERAS = {"front": (48, 64), "wrist": (32, 32)}  # height, width
EPISODES = (  # task, length
    ("pick the red cube", 9),
    ("open the drawer", 14),
    ("pick the red cube", 5),
    ("put the cube into the Würfelbecher", 11),
)
TOLERANCE = 7  # levels of 255; neighbouring frames are 14 apart


def length(episode: int) -> int:
    return EPISODES[episode][1]


def task(episode: int) -> str:
    return EPISODES[episode][0]


def _column(episode: int, size: int, start: float) -> np.ndarray:
    frame, element = np.arange(length(episode))[:, None], np.arange(size)[None]
    return (start + 100 * episode + frame + 0.1 * element).astype(np.float32)


def robot_state(episode: int) -> np.ndarray:
    return _column(episode, len(ROBOT), 0.0)


def world_state(episode: int) -> np.ndarray:
    return _column(episode, len(WORLD), 1000.0)


def action(episode: int) -> np.ndarray:
    return -_column(episode, len(ACTION), 0.5)


def reward(episode: int) -> np.ndarray:
    return np.arange(length(episode), dtype=np.float32) / 7 + episode


def success(episode: int) -> bool:
    return episode % 2 == 0


def colours(episode: int) -> np.ndarray:
    """RGB of each frame's quadrants (top left, top right, bottom left, bottom right): `[L 4 3]` uint8."""
    at = np.arange(length(episode))
    red = np.stack([40 + 14 * at] * 4, axis=1)
    green = np.full_like(red, 60 + 40 * episode)
    blue = np.stack([np.full_like(at, level) for level in (30, 90, 150, 210)], axis=1)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def frames(episode: int, camera: str) -> np.ndarray:
    """`[L C h w]` uint8."""
    height, width = CAMERAS[camera]
    quadrants = colours(episode).transpose(0, 2, 1).reshape(-1, 3, 2, 2)
    return quadrants.repeat(height // 2, axis=2).repeat(width // 2, axis=3)


def check_frames(seen: np.ndarray, episode: int, camera: str, at: np.ndarray | slice = slice(None)) -> None:
    """Refuse `seen [... C h w]` (levels of 255) unless it shows the frames `at` of this episode."""
    height, width = CAMERAS[camera]
    if seen.shape[-3:] != (3, height, width):
        raise AssertionError(f"{camera}: frames are {seen.shape[-3:]}, not {(3, height, width)}")
    middle = seen[..., [[height // 4], [3 * height // 4]], [width // 4, 3 * width // 4]].astype(np.float64)
    want = colours(episode).transpose(0, 2, 1).reshape(-1, 3, 2, 2)[at]
    worst = np.abs(middle - want).max()
    if worst > TOLERANCE:
        raise AssertionError(f"{camera}, episode {episode}: a colour is {worst:.0f} levels away")
