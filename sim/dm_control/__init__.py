"""The control suite of dm_control: benchmarks of locomotion and balance. `suite` is its entry point.

It comes without demonstrators. Nothing of it is imported before an environment is made.
"""

from __future__ import annotations

from typing import Any

from robopolicy.core.build import fill
from robopolicy.core.suites import Suite
from sim.dm_control.tasks import TASKS
from sim.env import MUJOCO, GymEnv


def make_env(name: str, /, **options: Any) -> GymEnv:
    """The environment of a task; `DmControlEnv` tells the options."""
    from sim.dm_control.env import DmControlEnv

    env = fill(DmControlEnv, options, task=name)
    return GymEnv(env, spec=env.spec_)


suite = Suite(
    name="dm_control",
    tasks=TASKS,
    make_env=make_env,
    requires=(MUJOCO, "dm-control>=1.0.41,<1.0.42"),
)
