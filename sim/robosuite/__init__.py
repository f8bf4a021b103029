"""robosuite 1.5.1: six tasks for one arm or two, with demonstrators of our own. `suite` is its entry point.

Nothing of it is imported before an environment is made.
"""

from __future__ import annotations

from typing import Any

from robopolicy.core.build import fill
from robopolicy.core.spec import Spec
from robopolicy.core.suites import Suite
from sim.env import MUJOCO, GymEnv
from sim.robosuite.tasks import TASKS


def make_env(name: str, /, **options: Any) -> GymEnv:
    """The environment of a task; `RobosuiteEnv` tells the options."""
    from sim.robosuite.env import RobosuiteEnv

    env = fill(RobosuiteEnv, options, task=name)
    return GymEnv(env, spec=env.spec_)


suite = Suite(
    name="robosuite",
    tasks={name: task.instruction for name, task in TASKS.items()},
    make_env=make_env,
    requires=(MUJOCO, "robosuite==1.5.1"),
)
