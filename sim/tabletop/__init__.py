"""The project's own fast suite: an SO-101-like arm at a table. `suite` is its entry point.

A task is one small class in `tasks/`; see `task.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robopolicy.core.build import fill
from robopolicy.core.errors import SpecMismatchError
from robopolicy.core.spec import Spec
from robopolicy.core.suites import Suite
from sim.env import MUJOCO, GymEnv
from sim.tabletop import state
from sim.tabletop.env import TabletopEnv
from sim.tabletop.expert import Expert
from sim.tabletop.quality import ENV_OPTIONS, PRESETS, preset
from sim.tabletop.state import Scene
from sim.tabletop.tasks import TASKS, task


def make_env(name: str, /, **options: Any) -> GymEnv:
    """The environment of a task; `TabletopEnv` tells the options."""
    env = fill(TabletopEnv, options, task=task(name))
    return GymEnv(env, spec=env.spec_)


def make_expert(
    name: str, /, *, quality: str = "expert", rows: int = 1, spec: Spec | None = None, **knobs: Any
) -> Expert:
    """The demonstrator of a task for B rows of environments of `spec`; None for joint actions.

    `quality` names one of `quality.PRESETS`; `knobs` change it, see `quality.Quality`.
    """
    return Expert(task(name), quality=preset(quality, knobs), rows=rows, spec=spec)


def relabel(name: str, states: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The rewards `[L]` a task would have given along recorded states `[L S]`, and where it was solved `[L]`.

    Row t holds the state before action t, so its reward is judged by row t + 1; the state after the last
    action is not recorded and taken to be like the last. As in the environment, a goal counts once it was met
    for `hold` steps.

    Raises:
        SpecMismatchError: where the states do not tell where things are.
    """
    hidden = [known for known in state.NAMES if known.startswith(("ee.", "env.")) and known not in names]
    if hidden:
        raise SpecMismatchError(
            f"rewards of tabletop/{name} cannot be known: the recorded states lack {', '.join(hidden[:3])}"
            f"{' ...' if len(hidden) > 3 else ''}; record with observe='state' or observe='all'"
        )
    whole = np.zeros((len(states), state.SIZE))
    kept = [i for i, known in enumerate(state.NAMES) if known in names]
    whole[:, kept] = states[:, [names.index(state.NAMES[i]) for i in kept]]
    chosen = task(name)
    after = np.append(whole[1:], whole[-1:], axis=0)
    met = np.asarray(chosen.solved(Scene(after)), dtype=bool)
    run = np.zeros(len(met), dtype=np.int64)
    for t, now in enumerate(met):
        run[t] = (run[t - 1] if t else 0) + 1 if now else 0
    success = run >= chosen.hold
    return success.astype(np.float32), success


suite = Suite(
    name="tabletop",
    tasks={name: kind.description for name, kind in TASKS.items()},
    make_env=make_env,
    make_expert=make_expert,
    qualities={name: quality.description for name, quality in PRESETS.items()},
    env_options=ENV_OPTIONS,
    relabel=relabel,
    requires=(MUJOCO,),
)
