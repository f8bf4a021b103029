# pyright: reportAttributeAccessIssue=false
"""Domain randomisation: what an episode changes in the physics and the look of a scene, drawn from its seed.

Where things begin is random in every episode and no part of this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import mujoco
import numpy as np

from robopolicy.core.errors import ConfigError, UnknownNameError

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """From what each episode draws, uniformly and both ends included; the defaults change nothing.

    Args:
        friction: factor on the friction of every surface, pads too.
        mass: factor on the mass of each thing, drawn for each.
        light: factor on the brightness of lamp and headlight.
        light_turn: of the lamp's direction about each axis, rad.
        camera_shift: of each camera along each axis, m.
        camera_turn: of each camera about each axis, rad.
        delay: control steps between an action and its command, whole numbers; the arm holds its pose before.

    Raises:
        ConfigError: for what is not a range, a factor or a delay.
    """

    friction: Range = (1.0, 1.0)
    mass: Range = (1.0, 1.0)
    light: Range = (1.0, 1.0)
    light_turn: Range = (0.0, 0.0)
    camera_shift: Range = (0.0, 0.0)
    camera_turn: Range = (0.0, 0.0)
    delay: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            numbers = all(isinstance(end, int | float) and np.isfinite(end) for end in value)
            if len(value) != 2 or not numbers or value[0] > value[1]:
                raise ConfigError(f"randomize.{field.name} is {value}; [low, high] is meant")
            if field.default == (1.0, 1.0) and value[0] <= 0:
                raise ConfigError(f"randomize.{field.name} is {value}; factors above 0 are meant")
        if self.delay[0] < 0 or any(int(steps) != steps for steps in self.delay):
            raise ConfigError(f"randomize.delay is {self.delay}; whole control steps from 0 are meant")


USUAL = Ranges(
    friction=(0.8, 1.25),
    mass=(0.6, 1.6),
    light=(0.6, 1.3),
    light_turn=(-0.3, 0.3),
    camera_shift=(-0.01, 0.01),
    camera_turn=(-0.03, 0.03),
    delay=(0, 2),
)


def ranges(chosen: bool | Mapping[str, Sequence[float]]) -> Ranges | None:
    """What `randomize=` means: False nothing, True `USUAL`, and a mapping the ranges that it names alone.

    Raises:
        UnknownNameError, ConfigError: for a name or range that is none.
    """
    if isinstance(chosen, bool):
        return USUAL if chosen else None
    if not isinstance(chosen, Mapping):
        raise ConfigError(f"randomize is {chosen!r}; true, false or a mapping of ranges is meant")
    known = [field.name for field in fields(Ranges)]
    named: dict[str, Any] = {}
    for name, value in chosen.items():
        if name not in known:
            raise UnknownNameError("range of randomize", name, known)
        named[name] = tuple(value) if isinstance(value, Sequence) else (value,)
    return Ranges(**named)


class Randomizer:
    """Changes one model anew for each episode.

    Args:
        ranges: from what is drawn.
        model: as it is when nothing is changed.
        things: bodies whose mass is drawn.
    """

    def __init__(self, ranges: Ranges, model: mujoco.MjModel, things: Sequence[int]) -> None:
        self._ranges, self._model, self._things = ranges, model, list(things)
        self._scratch = mujoco.MjData(model)
        self._friction = model.geom_friction.copy()
        self._mass, self._inertia = model.body_mass.copy(), model.body_inertia.copy()
        self._lamp, self._lamp_dir = model.light_diffuse.copy(), model.light_dir.copy()
        self._head = model.vis.headlight.diffuse.copy()
        self._camera_pos, self._camera_quat = model.cam_pos.copy(), model.cam_quat.copy()

    def draw(self, rng: np.random.Generator) -> int:
        """Change the model for one episode; returns its delay in control steps."""
        ranges, model = self._ranges, self._model
        model.geom_friction[:] = self._friction * rng.uniform(*ranges.friction)
        mass = np.ones(model.nbody)
        mass[self._things] = rng.uniform(*ranges.mass, len(self._things))
        model.body_mass[:] = self._mass * mass
        model.body_inertia[:] = self._inertia * mass[:, None]
        mujoco.mj_setConst(model, self._scratch)  # what the solver derives from masses

        light = rng.uniform(*ranges.light)
        model.light_diffuse[:] = self._lamp * light
        model.vis.headlight.diffuse[:] = self._head * light
        for lamp in range(model.nlight):
            turn = _quat(rng.uniform(*ranges.light_turn, 3))
            mujoco.mju_rotVecQuat(model.light_dir[lamp], self._lamp_dir[lamp], turn)
        model.cam_pos[:] = self._camera_pos + rng.uniform(*ranges.camera_shift, (model.ncam, 3))
        for camera in range(model.ncam):
            turn = _quat(rng.uniform(*ranges.camera_turn, 3))
            mujoco.mju_mulQuat(model.cam_quat[camera], self._camera_quat[camera], turn)
        return int(rng.integers(ranges.delay[0], ranges.delay[1], endpoint=True))


def _quat(turn: np.ndarray) -> np.ndarray:
    """The rotation vector `turn [3]` rad as (w, x, y, z)."""
    angle = np.linalg.norm(turn)
    quat = np.zeros(4)
    mujoco.mju_axisAngle2Quat(quat, turn / max(angle, 1e-12), angle)
    return quat
