"""What OGBench's environments show and take, element by element, in the order of its data files.

It shows an arm's lengths in units of its own, which are kept, so that its files and policies trained on them
fit: positions are in dm from (0.425, 0, 0) m, the way of a button in 1/120 m, of the drawer in 1/18 m and of
the window in 1/15 m.
"""

from __future__ import annotations

from collections.abc import Iterable

from robopolicy.core.spec import ActionSemantics, Spec, Vector
from sim.ogbench.tasks import Domain

CENTRE = (0.425, 0.0, 0.0)  # m
DM = 10.0  # per m
BUTTON, DRAWER, WINDOW = 120.0, 18.0, 15.0  # units per m
GRIPPER = 3.0  # what a closed gripper shows; an open one shows 0

_INF = float("inf")
_ARM = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")
_LEGS = tuple(f"{joint}_{leg}" for leg in range(1, 5) for joint in ("hip", "ankle"))
_Entries = dict[str, tuple[float, float, str]]


def _open(names: Iterable[str], unit: str) -> _Entries:
    return {name: (-_INF, _INF, unit) for name in names}


def _turn(thing: str) -> _Entries:
    return {f"{thing}.{name}_yaw": (-1.0, 1.0, "1") for name in ("cos", "sin")}


def _arm_state(domain: Domain) -> _Entries:
    found = _open((f"{joint}.pos" for joint in _ARM), "rad") | _open(
        (f"{joint}.vel" for joint in _ARM), "rad/s"
    )
    found |= _open((f"ee.{axis}" for axis in "xyz"), "dm") | _turn("ee")
    found |= {"gripper.closed": (0.0, GRIPPER, "1/3"), "gripper.contact": (0.0, 1.0, "1")}
    for index in range(domain.cubes):
        cube = f"env.cube{index}"
        found |= _open((f"{cube}.{axis}" for axis in "xyz"), "dm")
        found |= {f"{cube}.q{i}": (-1.0, 1.0, "1") for i in range(4)} | _turn(cube)
    for index in range(len(domain.buttons)):
        button = f"env.button{index}"
        found |= {f"{button}.{name}": (0.0, 1.0, "1") for name in ("off", "on")}
        found |= _open([f"{button}.pos"], "m/120") | _open([f"{button}.vel"], "m/s")
    for fixture, scale in (("drawer", DRAWER), ("window", WINDOW)) if domain.fixtures else ():
        found |= _open([f"env.{fixture}.pos"], f"m/{scale:.0f}") | _open([f"env.{fixture}.vel"], "m/s")
    return found


def _ant_state() -> _Entries:
    return (
        _open((f"body.{axis}" for axis in "xyz"), "m")
        | _open((f"body.q{i}" for i in range(4)), "1")
        | _open((f"{joint}.pos" for joint in _LEGS), "rad")
        | _open((f"body.v{axis}" for axis in "xyz"), "m/s")
        | _open((f"body.w{axis}" for axis in "xyz"), "rad/s")
        | _open((f"{joint}.vel" for joint in _LEGS), "rad/s")
    )


def spec_of(domain: Domain) -> Spec:
    """Of every task of a domain, without images."""
    if domain.arm:
        moves = {"ee.x": "5 cm", "ee.y": "5 cm", "ee.z": "5 cm", "ee.yaw": "0.3 rad", "gripper": "1"}
        return Spec(
            state=Vector.of(_arm_state(domain)),
            action=Vector.of({name: (-1.0, 1.0, unit) for name, unit in moves.items()}),
            control_hz=20.0,
            semantics=ActionSemantics(
                mode="delta", frame="base", rotation="euler_xyz", gripper="closing_effort"
            ),
        )
    if domain.name.startswith("point"):
        return Spec(
            state=Vector.of(_open((f"body.{axis}" for axis in "xy"), "m")),
            action=Vector.of({f"body.{axis}": (-1.0, 1.0, "0.2 m") for axis in "xy"}),
            control_hz=10.0,
            semantics=ActionSemantics(mode="delta", frame="base"),
        )
    return Spec(
        state=Vector.of(_ant_state()),
        # The motors of the fourth leg come first.
        action=Vector.of({f"{joint}.torque": (-1.0, 1.0, "30 Nm") for joint in (*_LEGS[6:], *_LEGS[:6])}),
        control_hz=10.0,
    )
