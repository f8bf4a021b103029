"""robosuite 1.5.1: six tasks for one arm or two, with demonstrators of our own. `suite` is its entry point.

Nothing of it is imported before an environment is made.
"""

from __future__ import annotations

from typing import Any

from robopolicy.core.build import fill, preset
from robopolicy.core.spec import Spec
from robopolicy.core.suites import Suite
from sim.env import MUJOCO, GymEnv
from sim.robosuite.experts import PLANS, PRESETS
from sim.robosuite.moves import script
from sim.robosuite.spec import seen_by_expert
from sim.robosuite.tasks import TASKS
from sim.scripted import Scripted


def make_env(name: str, /, **options: Any) -> GymEnv:
    """The environment of a task; `RobosuiteEnv` tells the options."""
    from sim.robosuite.env import RobosuiteEnv

    env = fill(RobosuiteEnv, options, task=name)
    return GymEnv(env, spec=env.spec_, settings=env.settings)


def make_expert(
    name: str, /, *, quality: str = "expert", rows: int = 1, spec: Spec | None = None, **knobs: Any
) -> Scripted:
    """The demonstrator of a task for B rows of environments of `spec`, which command OSC_POSE.

    `quality` names one of `experts.PRESETS`; `knobs` change it, see `experts.Quality`.
    """
    asked, task = preset("quality", PRESETS, quality, knobs, fixed=("description",)), TASKS[name]
    return Scripted(
        lambda rng: script(task, PLANS[name], asked.style(rng)),
        whole=seen_by_expert(task),
        noise=asked,
        rows=rows,
        spec=spec,
    )


suite = Suite(
    name="robosuite",
    tasks={name: task.instruction for name, task in TASKS.items()},
    make_env=make_env,
    make_expert=make_expert,
    qualities={name: quality.description for name, quality in PRESETS.items()},
    requires=(MUJOCO, "robosuite==1.5.1"),
)
