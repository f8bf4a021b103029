# pyright: reportAttributeAccessIssue=false
"""What stands on the table: movable things, goals and fixtures, each a small description that adds itself to
an MjSpec.

A task lists its props; movable things fill the object slots of the state in that order, goals the goal slots.
To add a kind of prop, write a frozen dataclass with `role` and `build`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import mujoco
import numpy as np

RED = (0.86, 0.20, 0.18, 1.0)
BLUE = (0.16, 0.40, 0.80, 1.0)
GREEN = (0.20, 0.62, 0.34, 1.0)
YELLOW = (0.95, 0.76, 0.18, 1.0)

# Where on the table things begin: a ring sector in which the hand can point straight down.
RADIUS = (0.14, 0.24)  # m from the pan axis
ANGLE = 0.8  # rad to either side

# Things meet the arm, each other and the table; see the geom default in arm.xml.
GRAINED = {"contype": 2, "conaffinity": 3, "condim": 4, "friction": [0.8, 0.01, 0.0001]}
_GHOST = {"contype": 0, "conaffinity": 0}


@dataclass(frozen=True)
class Pose:
    """Where a prop begins: metres and radians in the base frame; z is that of the prop's origin, travel that
    of a fixture's moving part.
    """

    x: float
    y: float
    z: float = 0.0
    yaw: float = 0.0
    travel: float = 0.0

    @property
    def quat(self) -> np.ndarray:
        """Rotation as (w, x, y, z)."""
        return np.array([np.cos(self.yaw / 2), 0.0, 0.0, np.sin(self.yaw / 2)])


def spot(
    rng: np.random.Generator,
    *,
    away_from: tuple[np.ndarray, ...] = (),
    by: float = 0.08,
    margin: float = 0.0,
) -> np.ndarray:
    """A random place `[2]`, `margin` m inside the ring's edges and at least `by` m from other places."""
    near, far = RADIUS[0] + margin, RADIUS[1] - margin
    while True:
        radius = np.sqrt(rng.uniform(near**2, far**2))
        angle = rng.uniform(-ANGLE, ANGLE)
        place = radius * np.array([np.cos(angle), np.sin(angle)])
        if all(np.linalg.norm(place - other) >= by for other in away_from):
            return place


@dataclass(frozen=True, kw_only=True)
class Prop(ABC):
    """Base of every prop.

    Args:
        name: unique within a task; also the name of its body.
    """

    role: ClassVar[str]  # `object`, `goal` or `fixture`: which part of the state it fills
    name: str

    @abstractmethod
    def build(self, spec: mujoco.MjSpec) -> None:
        """Add a body of this name; an object's joint is free, a fixture's has the prop's name."""

    @property
    def size(self) -> float:
        """Width in metres, what a gripper must open to; 0 where that has no meaning."""
        return 0.0


@dataclass(frozen=True, kw_only=True)
class Cube(Prop):
    """A cube to be pushed and picked up; its origin is its centre.

    Args:
        side: metres.
        rgba: colour.
        mass: kilograms.
    """

    role = "object"
    side: float = 0.028
    rgba: tuple[float, float, float, float] = RED
    mass: float = 0.03

    @property
    def size(self) -> float:
        """The side."""
        return self.side

    def build(self, spec: mujoco.MjSpec) -> None:
        """A free body with one box."""
        body = spec.worldbody.add_body(name=self.name)
        body.add_freejoint()
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[self.side / 2] * 3,
            rgba=self.rgba,
            mass=self.mass,
            **GRAINED,
        )


@dataclass(frozen=True, kw_only=True)
class Zone(Prop):
    """A coloured disc on the table that things are brought to; it is seen, not felt.

    Args:
        radius: metres.
        rgba: colour.
    """

    role = "goal"
    radius: float = 0.04
    rgba: tuple[float, float, float, float] = BLUE

    def build(self, spec: mujoco.MjSpec) -> None:
        """A body with a thin cylinder."""
        spec.worldbody.add_body(name=self.name).add_geom(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[self.radius, 0.0006, 0], rgba=self.rgba, **_GHOST
        )


@dataclass(frozen=True, kw_only=True)
class Beacon(Prop):
    """A translucent ball in the air for the tool to reach.

    Args:
        radius: metres.
        rgba: colour.
    """

    role = "goal"
    radius: float = 0.015
    rgba: tuple[float, float, float, float] = (0.20, 0.62, 0.34, 0.7)

    def build(self, spec: mujoco.MjSpec) -> None:
        """A body with a sphere."""
        spec.worldbody.add_body(name=self.name).add_geom(
            type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[self.radius, 0, 0], rgba=self.rgba, **_GHOST
        )
