# pyright: reportAttributeAccessIssue=false
"""Puts the arm, the table and a task's props together into one MuJoCo model."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco

from sim.tabletop import arm
from sim.tabletop.props import GRAINED, Prop
from sim.tabletop.task import Task

SUBSTEPS = 8  # of the arm's timestep, to one control step


@dataclass(frozen=True, kw_only=True)
class ObjectSet:
    """How the props of every task are made.

    Args:
        scale: of movable things, in all directions; goals and fixtures keep their size.
        shade: factor on the colour of every prop: the instructions, which name colours, stay true.
    """

    scale: float
    shade: float


# Demonstrations are collected with the first; no size of a thing and no colour of a prop is in both.
OBJECT_SETS = {
    "training": ObjectSet(scale=1.0, shade=1.0),
    "held_out": ObjectSet(scale=0.85, shade=0.65),
}

LARGEST = (1280, 960)  # width and height of a picture that can be drawn, pixels


def compose(task: Task, objects: ObjectSet) -> mujoco.MjModel:
    """The model of a task: arm, table, lights, the camera `front`, and only the props that the task names."""
    spec = mujoco.MjSpec.from_file(str(arm.arm_xml()))
    spec.modelname = f"tabletop_{task.name}"
    world = spec.worldbody
    world.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[1.2, 1.2, 0.05],  # seen; it goes on for ever, but an endless one takes twice the time to draw
        rgba=[0.80, 0.78, 0.74, 1],
        **GRAINED,
    )
    world.add_geom(
        name="mat",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[0.19, 0, 0.0],
        size=[0.15, 0.24, 0.0003],
        rgba=[0.62, 0.68, 0.71, 1],
        contype=0,
        conaffinity=0,
    )
    world.add_light(
        pos=[0.5, 0.6, 1.2],
        dir=[-0.3, -0.5, -1.0],
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        diffuse=[0.55, 0.55, 0.55],
        specular=[0.1, 0.1, 0.1],
    )
    # Looks at the work from ahead and above, the arm at the far side.
    world.add_camera(name="front", pos=[0.46, 0, 0.42], xyaxes=[0, 1, 0, -0.832, 0, 0.555], fovy=50)
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.93, 0.94, 0.96],
        rgb2=[0.70, 0.74, 0.80],
        width=128,
        height=768,
    )
    spec.visual.headlight.ambient = [0.38, 0.38, 0.38]
    spec.visual.headlight.diffuse = [0.35, 0.35, 0.35]
    spec.visual.headlight.specular = [0.05, 0.05, 0.05]
    spec.visual.quality.offsamples = 0
    spec.visual.quality.shadowsize = 4096
    spec.visual.global_.offwidth, spec.visual.global_.offheight = LARGEST
    spec.visual.map.znear = 0.02
    spec.stat.extent = 0.6  # else it would depend on the task, and with it how things are drawn
    for prop in task.props:
        prop.build(spec)
        _alter(spec.body(prop.name), prop, objects)
    return spec.compile()


def _alter(body: mujoco.MjsBody, prop: Prop, objects: ObjectSet) -> None:
    """Make a body that was built as in the training set one of `objects`."""
    scale = objects.scale if prop.role == "object" else 1.0
    for geom in body.find_all(mujoco.mjtObj.mjOBJ_GEOM):
        geom.size, geom.pos = geom.size * scale, geom.pos * scale
        geom.mass *= scale**3
        geom.rgba[:3] *= objects.shade
