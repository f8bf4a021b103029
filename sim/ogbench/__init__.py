"""OGBench 1.2.2: an arm with cubes, drawers and puzzles, and mazes, one fixed goal a task. `suite` is its
entry point.

Nothing of it is imported before an environment or a demonstrator is made, or rewards are asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robopolicy.core.build import fill
from robopolicy.core.errors import ConfigError, SpecMismatchError
from robopolicy.core.protocols import Agent
from robopolicy.core.spec import Spec
from robopolicy.core.suites import Suite
from sim.env import MUJOCO, GymEnv
from sim.ogbench.quality import ENV_OPTIONS, PRESETS, preset
from sim.ogbench.tasks import TASKS, split


def make_env(name: str, /, **options: Any) -> GymEnv:
    """The environment of a task; `OGBenchEnv` tells the options."""
    from sim.ogbench.env import OGBenchEnv

    env = fill(OGBenchEnv, options, task=name)
    return GymEnv(env, spec=env.spec_)


def make_expert(
    name: str, /, *, quality: str = "play", rows: int = 1, spec: Spec | None = None, **knobs: Any
) -> Agent:
    """Who plays in a task's scene, for B rows of environments of `spec`.

    `quality` names one of `quality.PRESETS`; `knobs` change it, see `quality.Quality`.

    Raises:
        ConfigError: for a maze, to which the package brings none.
    """
    domain, _ = split(name)
    if not domain.arm:
        raise ConfigError(f"ogbench/{name} has no demonstrator: the package brings some to its arm alone")
    from sim.ogbench.play import Player

    return Player(domain, quality=preset(quality, knobs), rows=rows, spec=spec)


def relabel(name: str, states: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The dense rewards `[L]` of a task along recorded states `[L S]`, and where it was solved `[L]`.

    Row t holds the state before action t, which is what OGBench rewards.

    Raises:
        SpecMismatchError: where the states do not tell where things are.
    """
    from sim.ogbench.goals import goal_of

    goal = goal_of(name)
    if missing := [known for known in goal.looks_at if known not in names]:
        raise SpecMismatchError(
            f"rewards of ogbench/{name} cannot be known: the recorded states lack {', '.join(missing[:3])}"
            f"{' ...' if len(missing) > 3 else ''}; record with observe='state' or observe='all'"
        )
    met = goal.met(states[:, [names.index(known) for known in goal.looks_at]])
    return (met.sum(axis=1) - met.shape[1]).astype(np.float32), np.all(met, axis=1)


suite = Suite(
    name="ogbench",
    tasks=TASKS,
    make_env=make_env,
    make_expert=make_expert,
    qualities={name: quality.description for name, quality in PRESETS.items()},
    env_options=ENV_OPTIONS,
    relabel=relabel,
    requires=(MUJOCO, "ogbench==1.2.2"),
)
