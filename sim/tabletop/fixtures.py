# pyright: reportAttributeAccessIssue=false
"""What stands fast on the table and has one part that moves: a drawer, a button.

The body of the prop's name stands still; the moving part is its child, on a slide joint of that name whose
position is the travel in the state. Fixtures are felt by the arm alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco

from sim.tabletop.props import RED, Prop

_WOOD = (0.72, 0.55, 0.38, 1.0)
_LIGHT_WOOD = (0.86, 0.72, 0.54, 1.0)
_METAL = (0.30, 0.32, 0.36, 1.0)
_FELT = {"contype": 0, "conaffinity": 1, "condim": 4, "friction": [0.8, 0.01, 0.0001]}
_GHOST = {"contype": 0, "conaffinity": 0}


@dataclass(frozen=True, kw_only=True)
class Cabinet(Prop):
    """A low cabinet with one drawer, which slides out along the body's x axis; the origin is the middle of
    the closed drawer's front, on the table.

    Args:
        travel: how far the drawer slides, metres.
        handle: from the front to the middle of the handle, an upright plate, metres.
        grip: width of the handle, metres.
        drag: force at which the drawer begins to slide, N.
    """

    role = "fixture"
    travel: float = 0.08
    handle: float = 0.03
    grip: float = 0.024
    drag: float = 0.6

    def build(self, spec: mujoco.MjSpec) -> None:
        """A carcass of three boards and a back, in it a drawer on a slide joint."""
        box = mujoco.mjtGeom.mjGEOM_BOX
        depth, width, height, board = 0.1, 0.1, 0.04, 0.004
        still = spec.worldbody.add_body(name=self.name)

        def fixed(pos: list[float], size: list[float]) -> None:
            still.add_geom(type=box, pos=pos, size=size, rgba=_WOOD, **_FELT)

        fixed([-depth / 2, 0, height - board / 2], [depth / 2, width / 2, board / 2])
        for side in (-1, 1):
            place = [-depth / 2, side * (width - board) / 2, height / 2]
            fixed(place, [depth / 2, board / 2, height / 2 - board])
        fixed([-depth + board / 2, 0, height / 2], [board / 2, width / 2 - board, height / 2 - board])

        drawer = still.add_body(name=f"{self.name}_drawer")
        drawer.add_joint(
            name=self.name,
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=[1, 0, 0],
            range=[0, self.travel],
            limited=True,
            frictionloss=self.drag,
            damping=2.0,
            armature=0.05,
        )

        def moving(pos: list[float], size: list[float], *, colour: tuple = _LIGHT_WOOD, felt: bool) -> None:
            drawer.add_geom(
                type=box, pos=pos, size=size, rgba=colour, mass=0.02, **(_FELT if felt else _GHOST)
            )

        inner, wall = width / 2 - board - 0.001, (height - 2 * board) / 2 - 0.002
        long = depth / 2 - board
        moving([-0.003, 0, wall + 0.004], [0.003, inner, wall], felt=True)
        moving([-long, 0, 0.005], [long, inner, 0.001], felt=False)
        for side in (-1, 1):
            moving([-long, side * (inner - 0.0015), wall], [long, 0.0015, wall - 0.004], felt=False)
        moving([self.handle / 2, 0, 0.022], [self.handle / 2, 0.004, 0.006], colour=_METAL, felt=True)
        moving([self.handle, 0, 0.027], [0.005, self.grip / 2, 0.019], colour=_METAL, felt=True)


@dataclass(frozen=True, kw_only=True)
class Button(Prop):
    """A push button that a spring brings back up; the origin is the middle of its base, on the table.

    Args:
        travel: how far down the cap goes, metres.
        height: of the cap's top when nothing presses, metres.
        radius: of the cap, metres.
        preload, force: that of the spring, up and down, N.
        rgba: colour of the cap.
    """

    role = "fixture"
    travel: float = 0.012
    height: float = 0.036
    radius: float = 0.018
    preload: float = 1.0
    force: float = 3.0
    rgba: tuple[float, float, float, float] = RED

    def build(self, spec: mujoco.MjSpec) -> None:
        """A ring-like base and a cap on a slide joint with a spring."""
        cylinder = mujoco.mjtGeom.mjGEOM_CYLINDER
        base = (self.height - self.travel) / 2 - 0.001
        still = spec.worldbody.add_body(name=self.name)
        still.add_geom(
            type=cylinder, pos=[0, 0, base], size=[self.radius + 0.012, base, 0], rgba=_METAL, **_FELT
        )
        stiffness = (self.force - self.preload) / self.travel
        cap = still.add_body(name=f"{self.name}_cap", gravcomp=1)
        cap.add_joint(
            name=self.name,
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=[0, 0, -1],
            range=[0, self.travel],
            limited=True,
            stiffness=stiffness,
            springref=-self.preload / stiffness,
            damping=3.0,
            armature=0.05,
        )
        cap.add_geom(
            type=cylinder,
            pos=[0, 0, self.height - 0.009],
            size=[self.radius, 0.009, 0],
            rgba=self.rgba,
            mass=0.02,
            **_FELT,
        )
