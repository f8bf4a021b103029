# pyright: reportAttributeAccessIssue=false
"""Props that hold others or fit into them: a block, a socket for it; a cup, a ball and a bowl for that."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco

from sim.tabletop.props import BLUE, GRAINED, GREEN, RED, YELLOW, Prop

_BOX = mujoco.mjtGeom.mjGEOM_BOX


@dataclass(frozen=True, kw_only=True)
class Block(Prop):
    """A block that stands upright on a square foot; its origin is its centre.

    Args:
        side: of the foot, metres.
        height: metres.
        rgba: colour.
        mass: kilograms.
    """

    role = "object"
    side: float = 0.024
    height: float = 0.052
    rgba: tuple[float, float, float, float] = YELLOW
    mass: float = 0.03

    @property
    def size(self) -> float:
        """The foot's side."""
        return self.side

    def build(self, spec: mujoco.MjSpec) -> None:
        """A free body with one box."""
        body = spec.worldbody.add_body(name=self.name)
        body.add_freejoint()
        half = [self.side / 2, self.side / 2, self.height / 2]
        body.add_geom(type=_BOX, size=half, rgba=self.rgba, mass=self.mass, **GRAINED)


@dataclass(frozen=True, kw_only=True)
class Socket(Prop):
    """A square hole on the table made of four walls; its origin is the hole's centre on the table.

    Args:
        hole: inner width, metres.
        height: of the walls, metres.
        wall: their thickness, metres.
        rgba: colour.
    """

    role = "goal"
    hole: float = 0.036
    height: float = 0.013
    wall: float = 0.006
    rgba: tuple[float, float, float, float] = BLUE

    def build(self, spec: mujoco.MjSpec) -> None:
        """A static body with four boxes."""
        _walls(spec.worldbody.add_body(name=self.name), self.hole, self.height, self.wall, 0.0, self.rgba)


@dataclass(frozen=True, kw_only=True)
class Cup(Prop):
    """A square cup, open above; its origin is its centre.

    Args:
        side: outer width, metres.
        height: metres.
        wall: thickness of walls and floor, metres.
        rgba: colour.
        mass: kilograms.
    """

    role = "object"
    side: float = 0.034
    height: float = 0.04
    wall: float = 0.003
    rgba: tuple[float, float, float, float] = RED
    mass: float = 0.03

    @property
    def size(self) -> float:
        """The outer width."""
        return self.side

    def build(self, spec: mujoco.MjSpec) -> None:
        """A free body with four walls and a floor, a fifth of the mass each."""
        body = spec.worldbody.add_body(name=self.name)
        body.add_freejoint()
        low, half = -self.height / 2, self.side / 2
        _walls(body, self.side - 2 * self.wall, self.height, self.wall, low, self.rgba, self.mass / 5)
        floor = [half, half, self.wall / 2]
        body.add_geom(
            type=_BOX,
            pos=[0, 0, low + self.wall / 2],
            size=floor,
            rgba=self.rgba,
            mass=self.mass / 5,
            **GRAINED,
        )


@dataclass(frozen=True, kw_only=True)
class Ball(Prop):
    """A small ball that soon stops rolling.

    Args:
        radius: metres.
        rgba: colour.
        mass: kilograms.
    """

    role = "object"
    radius: float = 0.009
    rgba: tuple[float, float, float, float] = YELLOW
    mass: float = 0.008

    @property
    def size(self) -> float:
        """The diameter."""
        return 2 * self.radius

    def build(self, spec: mujoco.MjSpec) -> None:
        """A free body with one sphere."""
        body = spec.worldbody.add_body(name=self.name)
        body.add_freejoint()
        felt = GRAINED | {"condim": 6, "friction": [0.8, 0.01, 0.0005]}
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            size=[self.radius, 0, 0],
            rgba=self.rgba,
            mass=self.mass,
            **felt,
        )


@dataclass(frozen=True, kw_only=True)
class Bowl(Prop):
    """A shallow square bowl that stands fast on the table; its origin is its centre on the table.

    Args:
        hole: inner width, metres.
        height: metres.
        wall: thickness, metres.
        rgba: colour.
    """

    role = "goal"
    hole: float = 0.08
    height: float = 0.022
    wall: float = 0.004
    rgba: tuple[float, float, float, float] = GREEN

    def build(self, spec: mujoco.MjSpec) -> None:
        """A static body with four boxes; the table is its floor."""
        _walls(spec.worldbody.add_body(name=self.name), self.hole, self.height, self.wall, 0.0, self.rgba)


def _walls(
    body: mujoco.MjsBody,
    hole: float,
    height: float,
    wall: float,
    low: float,
    rgba: tuple[float, float, float, float],
    mass: float = 0.02,
) -> None:
    """Four walls round a square hole, from `low` m above the body's origin."""
    away, long = (hole + wall) / 2, hole / 2 + wall
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        body.add_geom(
            type=_BOX,
            pos=[x * away, y * away, low + height / 2],
            size=[wall / 2 if x else hole / 2, wall / 2 if y else long, height / 2],
            rgba=rgba,
            mass=mass,
            **GRAINED,
        )
