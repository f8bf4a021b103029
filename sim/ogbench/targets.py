"""What is to be done next when playing: drawn as OGBench's collections draw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.ogbench.scene import Scene, drawer_handle, window_handle
from sim.ogbench.tasks import Domain

_CUBE = 0.04  # m, its side
_IN_DRAWER = np.array([0.33, -0.24, 0.066])  # m, where a cube is put
_TO_DRAWER = 0.3  # chance that a cube goes there, while it is open
_LOCKED = 0.25  # what something locked is worth trying, beside 1


@dataclass(frozen=True, kw_only=True)
class Target:
    """One thing that is to be somewhere else, or otherwise.

    Args:
        kind: `cube`, `button`, `drawer` or `window`.
        index: of the cube or button.
        place: `[3]`, m, for the cube or the handle.
        yaw: rad, for the cube.
        on: for the button.
    """

    kind: str
    index: int = 0
    place: np.ndarray
    yaw: float = 0.0
    on: bool = False

    def told(self, scene: Scene, seconds: float) -> dict[str, Any]:
        """What OGBench tells its oracles of this target, in this scene at this time."""
        said: dict[str, Any] = {
            "time": np.array([seconds]),
            "proprio/effector_pos": scene.hand,
            "proprio/effector_yaw": np.array([scene.yaw]),
            "proprio/gripper_opening": np.array([scene.closed]),
            "proprio/gripper_contact": np.array([scene.contact]),
        }
        private: dict[str, Any] = {}
        if self.kind == "cube":
            private = {
                "target_block": self.index,
                f"block_{self.index}_pos": scene.cubes[self.index],
                f"block_{self.index}_yaw": scene.yaws[[self.index]],
                "target_block_pos": self.place,
                "target_block_yaw": np.array([self.yaw]),
            }
        elif self.kind == "button":
            private = {
                "target_button": self.index,
                f"button_{self.index}_state": int(scene.on[self.index]),
                "target_button_state": int(self.on),
                "target_button_top_pos": scene.tops[self.index],
            }
        else:
            now = drawer_handle(scene.drawer) if self.kind == "drawer" else window_handle(scene.window)
            private = {
                f"{self.kind}_handle_pos": now,
                f"{self.kind}_handle_yaw": np.array([np.pi if self.kind == "drawer" else np.pi / 2]),
                f"target_{self.kind}_handle_pos": self.place,
            }
        return said | {f"privileged/{name}": value for name, value in private.items()}


def draw(
    rng: np.random.Generator, domain: Domain, scene: Scene, *, bounds: np.ndarray, stack: float
) -> Target:
    """A target for a scene as it is now.

    Args:
        rng: what chooses.
        domain, scene: what there is.
        bounds: `[2 2]`, m, lowest and highest x and y where cubes are put.
        stack: chance that a cube goes onto another.
    """
    loose = _loose(scene, domain)
    weights = {"cube": float(len(loose) > 0), "button": float(len(scene.on) > 0)}
    if domain.fixtures:
        weights |= {
            name: 1.0 if scene.on[lock] else _LOCKED for lock, name in enumerate(("drawer", "window"))
        }
    chances = np.array(list(weights.values()))
    kind = str(rng.choice(list(weights), p=chances / chances.sum()))
    if kind == "drawer":
        return Target(kind=kind, place=drawer_handle(-0.16 if scene.drawer >= -0.08 else 0.0))
    if kind == "window":
        return Target(kind=kind, place=window_handle(0.2 if scene.window <= 0.1 else 0.0))
    if kind == "button":
        index = int(rng.integers(len(scene.on)))
        return Target(kind=kind, index=index, place=scene.tops[index], on=not scene.on[index])
    index = int(rng.choice(loose))
    others = [other for other in loose if other != index]
    if domain.fixtures and scene.drawer < -0.12 and rng.random() < _TO_DRAWER:
        place = _IN_DRAWER + np.append(rng.uniform(-0.005, 0.005, 2), 0.0)
    elif others and rng.random() < stack:
        place = scene.cubes[rng.choice(others)] + [0.0, 0.0, _CUBE]
    else:
        place = np.append(rng.uniform(*bounds), _CUBE / 2)
    return Target(kind=kind, index=index, place=place, yaw=rng.uniform(0, 2 * np.pi))


def _loose(scene: Scene, domain: Domain) -> list[int]:
    """The cubes that can be taken: nothing lies on them, and they are not in the drawer."""
    found = []
    for index, cube in enumerate(scene.cubes):
        above = scene.cubes[scene.cubes[:, 2] > cube[2]]
        covered = np.linalg.norm(above[:, :2] - cube[:2], axis=1) < _CUBE / 2
        if not covered.any() and not (domain.fixtures and _in_drawer(scene, cube)):
            found.append(index)
    return found


def _in_drawer(scene: Scene, cube: np.ndarray) -> bool:
    front = drawer_handle(scene.drawer)[1]
    low, high = [0.21, front - 0.27, 0.0], [0.45, front - 0.07, 0.15]
    return bool((low <= cube).all() and (cube <= high).all())
