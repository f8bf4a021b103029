# pyright: reportAttributeAccessIssue=false
"""Closed-form kinematics and droop of the SO-101-like arm in `assets/so101/arm.xml`.

The arm is a pan joint, a planar chain of three links and a roll, so that its pose is (x, y, z, pitch, roll)
of the site `ee` in the base frame: pitch is the angle of the approach axis below the horizontal (pi/2 points
straight down), roll is the roll joint's own angle. The elbow is always up. All functions take any leading
axes.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import mujoco
import numpy as np

from robopolicy.core.share import share

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")

# Planar geometry (metres, in the arm's vertical plane), as in arm.xml; a test compares it with MuJoCo.
_SHOULDER = (0.0304, 0.1166)
_UPPER = (0.028, 0.1126)
_FORE = (0.1349, 0.0052)
_HAND = 0.15
_L1, _A1 = np.hypot(*_UPPER), np.arctan2(_UPPER[0], _UPPER[1])
_L2, _A2 = np.hypot(*_FORE), np.arctan2(_FORE[1], _FORE[0])

PARALLEL_GAP = 0.0275  # between the pads at PARALLEL, metres
PARALLEL = 0.14  # gripper angle at which the pads are parallel
_JAW = 0.079  # from the jaw's hinge to the tcp


def arm_xml() -> Path:
    """The file of the arm's MJCF, in a checkout or an installed wheel."""
    return share("assets", "so101", "arm.xml")


@cache
def limits() -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper joint limits `[6]` in radians, as the MJCF has them."""
    model = _model()
    return model.jnt_range[:6, 0].copy(), model.jnt_range[:6, 1].copy()


def forward(joints: np.ndarray) -> np.ndarray:
    """Pose `[... 5]` (x, y, z in m; pitch, roll in rad) of joint positions `[... >=5]` in rad."""
    pan, lift, elbow, wrist, roll = np.moveaxis(np.asarray(joints)[..., :5], -1, 0)
    upper = lift + _A1
    fore = lift + elbow + np.pi / 2 - _A2
    pitch = lift + elbow + wrist
    r = _SHOULDER[0] + _L1 * np.sin(upper) + _L2 * np.sin(fore) + _HAND * np.cos(pitch)
    z = _SHOULDER[1] + _L1 * np.cos(upper) + _L2 * np.cos(fore) - _HAND * np.sin(pitch)
    return np.stack([r * np.cos(pan), -r * np.sin(pan), z, pitch, roll], axis=-1)


def inverse(pose: np.ndarray) -> np.ndarray:
    """Joint positions `[... 5]` of a pose `[... 5]`; out of reach, those of a pose near it, within the
    limits.
    """
    x, y, z, pitch, roll = np.moveaxis(np.asarray(pose), -1, 0)
    pan = -np.arctan2(y, x)
    dr = np.hypot(x, y) - _HAND * np.cos(pitch) - _SHOULDER[0]
    dz = z + _HAND * np.sin(pitch) - _SHOULDER[1]
    bend = np.arccos(np.clip((dr**2 + dz**2 - _L1**2 - _L2**2) / (2 * _L1 * _L2), -1.0, 1.0))
    lift = wrap(np.arctan2(dr, dz) - np.arctan2(_L2 * np.sin(bend), _L1 + _L2 * np.cos(bend)) - _A1)
    elbow = bend - np.pi / 2 + _A1 + _A2
    wrist = pitch - lift - elbow
    low, high = limits()
    return np.clip(np.stack([pan, lift, elbow, wrist, roll], axis=-1), low[:5], high[:5])


def steepest(place: np.ndarray, pitch: float) -> float:
    """The pitch nearest below `pitch` at which the tool reaches `place [3]`; `pitch` where there is none."""
    tries = pitch - np.linspace(0.0, 1.2, 25)
    poses = np.concatenate([np.broadcast_to(place, (25, 3)), tries[:, None], np.zeros((25, 1))], axis=1)
    exact = np.abs(forward(inverse(poses)) - poses).max(axis=1) < 1e-6
    return float(tries[exact.argmax()])


def droop(joints: np.ndarray) -> np.ndarray:
    """How far beyond its command the unloaded arm settles at `joints [... >=4]`, `[... 5]` rad: gravity
    torque / kp.

    Command `wanted - droop(wanted)` and the arm settles where it is wanted, up to dry friction.
    """
    lift, elbow, wrist = np.moveaxis(np.asarray(joints)[..., 1:4], -1, 0)
    masses, levers, kp = _gravity()
    upper = lift + _A1
    fore = lift + elbow + np.pi / 2 - _A2
    hand = lift + elbow + wrist
    # Horizontal distance of each link's centre of mass from its own joint; outer links ride on inner ones.
    own = [
        levers[i][0] * np.cos(a) + levers[i][1] * np.sin(a) for i, a in enumerate((lift, lift + elbow, hand))
    ]
    at_elbow = masses[1] * own[1] + masses[2] * (_L2 * np.sin(fore) + own[2])
    at_lift = masses[0] * own[0] + (masses[1] + masses[2]) * _L1 * np.sin(upper) + at_elbow
    torque = 9.81 * np.stack([at_lift, at_elbow, masses[2] * own[2]], axis=-1)
    sag = np.zeros((*torque.shape[:-1], 5))
    sag[..., 1:4] = torque / kp
    return sag


def wrap(angle: np.ndarray) -> np.ndarray:
    """Angles brought into [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def gap_angle(gap: np.ndarray | float) -> np.ndarray:
    """Gripper angle at which the pads are `gap` metres apart at the tcp."""
    return PARALLEL + np.arcsin(np.clip((np.asarray(gap) - PARALLEL_GAP) / _JAW, -1.0, 1.0))


@cache
def _model() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(str(arm_xml()))


@cache
def _gravity() -> tuple[np.ndarray, np.ndarray, float]:
    """Mass and, in the zero pose, centre of mass (ahead of its joint, above it) of the upper arm, forearm and
    hand.
    """
    model = _model()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    chain = ["upper_arm", "lower_arm", "wrist", "gripper", "moving_jaw"]
    ids = [model.body(name).id for name in chain]
    groups = ids[:1], ids[1:2], ids[2:]
    masses, levers = [], []
    for group in groups:
        mass = model.body_mass[group]
        masses.append(mass.sum())
        levers.append((mass @ data.xipos[group] / mass.sum() - data.xpos[group[0]])[[0, 2]])
    return np.array(masses), np.array(levers), float(model.actuator_gainprm[1, 0])
