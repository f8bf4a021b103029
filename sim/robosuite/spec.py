"""What an arm of robosuite shows and is told, by name, and which arms and controllers there are."""

from __future__ import annotations

from collections.abc import Sequence

from robopolicy.core.errors import ConfigError, UnknownNameError
from robopolicy.core.spec import ActionSemantics, Spec, Vector
from sim.robosuite.tasks import Task

CONTROL_HZ = 20.0
ARMS = {"Panda": 1, "UR5e": 1, "Sawyer": 1, "IIWA": 1, "Jaco": 1, "Kinova3": 1, "Baxter": 2}
"""The robots that stand still, and how many arms each has."""

CONTROLLERS = {
    "OSC_POSE": ActionSemantics(mode="delta", frame="base", rotation="axis_angle", gripper="closing_effort"),
    "JOINT_POSITION": ActionSemantics(mode="delta", frame="joint", gripper="closing_effort"),
}
_POSE = ("x", "y", "z", "rx", "ry", "rz")
_INF = float("inf")


def chosen(robots: str | Sequence[str], arms: int) -> list[str]:
    """The robots that together have so many arms; a name by itself stands for as many as that takes.

    Raises:
        UnknownNameError: there is no such robot.
        ConfigError: they have more arms, or fewer.
    """
    named = [robots] if isinstance(robots, str) else list(robots)
    for name in named:
        if name not in ARMS:
            raise UnknownNameError("robot", name, list(ARMS))
    if isinstance(robots, str):
        named *= max(1, arms // ARMS[robots])
    if (have := sum(ARMS[name] for name in named)) != arms:
        raise ConfigError(
            f"robots is {robots!r}, with {have} arms, but the task is for {arms}; choose from "
            f"{', '.join(name for name, count in ARMS.items() if count == 1)}"
            f"{', one for each arm, or Baxter' if arms == 2 else ''}"
        )
    return named


def arm_actions(controller: str, arm: int, arms: int, joints: int) -> list[str]:
    """The names of what one of so many arms is told, shares of the most that it does in a step."""
    which = "" if arms == 1 else str(arm)
    if controller == "OSC_POSE":
        return [f"ee{which}.{axis}" for axis in _POSE]
    return [f"joint{which}.{index}" for index in range(joints)]


def gripper_action(arm: int, arms: int) -> str:
    """The name of how an arm's gripper is told to close (1) or open (-1)."""
    return "gripper" if arms == 1 else f"gripper{arm}"


def shares(names: Sequence[str]) -> Vector:
    """Actions of these names."""
    return Vector.of(dict.fromkeys(names, (-1.0, 1.0, "1")))


def told(name: str, size: int) -> dict[str, tuple[float, float, str]]:
    """The elements of one of robosuite's observations."""
    unit = "1" if "quat" in name else "rad" if name.endswith("qpos") or "joint" in name else "m"
    return {f"{name}.{index}": (-_INF, _INF, unit) for index in range(size)}


def things(task: Task) -> dict[str, tuple[float, float, str]]:
    """The elements of its observation `object`, by the name that it has in robomimic's files."""
    units = [unit for name, size in task.things.items() for *_, unit in told(name, size).values()]
    return {f"env.object.{index}": (-_INF, _INF, unit) for index, unit in enumerate(units)}


def seen_by_expert(task: Task) -> Spec:
    """Of an environment with what a demonstrator looks at: hands, a finger of each, and things."""
    state, actions = {}, []
    for arm in range(task.arms):
        state |= told(f"robot{arm}_eef_pos", 3) | told(f"robot{arm}_eef_quat_site", 4)
        state |= told(f"robot{arm}_gripper_qpos", 1)
        actions += [*arm_actions("OSC_POSE", arm, task.arms, 0), gripper_action(arm, task.arms)]
    return Spec(
        state=Vector.of(state | things(task)),
        action=shares(actions),
        control_hz=CONTROL_HZ,
        semantics=CONTROLLERS["OSC_POSE"],
        text=True,
    )
