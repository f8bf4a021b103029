"""Meta-World 3.0.0: fifty tasks of one arm, with their scripted policies. `suite` is its entry point.

Nothing of it is imported before an environment or an expert is made.
"""

from __future__ import annotations

from typing import Any

from robopolicy.core.build import fill
from robopolicy.core.spec import Spec
from robopolicy.core.suites import Suite
from sim.env import MUJOCO, GymEnv
from sim.metaworld.tasks import MT10, TASKS
from sim.scripted import PRESETS, Scripted, preset


def make_env(name: str, /, **options: Any) -> GymEnv:
    """The environment of a task; `MetaWorldEnv` tells the options."""
    from sim.metaworld.env import MetaWorldEnv

    env = fill(MetaWorldEnv, options, task=name)
    return GymEnv(env, spec=env.spec_)


def make_expert(
    name: str, /, *, quality: str = "expert", rows: int = 1, spec: Spec | None = None, **knobs: Any
) -> Scripted:
    """Meta-World's scripted policy of a task, for B rows of environments of `spec`.

    `quality` names one of `scripted.PRESETS`; `knobs` change it, see `scripted.Noise`.
    """
    from sim.metaworld.env import WHOLE, script

    noise = preset(quality, knobs)
    return Scripted(lambda _: script(name), whole=WHOLE, noise=noise, rows=rows, spec=spec)


suite = Suite(
    name="metaworld",
    tasks=TASKS,
    make_env=make_env,
    make_expert=make_expert,
    qualities={name: noise.description for name, noise in PRESETS.items()},
    groups={"MT10": MT10, "MT50": tuple(TASKS)},
    requires=(MUJOCO, "metaworld==3.0.0"),
)
