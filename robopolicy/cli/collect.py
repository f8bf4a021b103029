"""usage: robopolicy collect task=SUITE/TASK quality=NAME episodes=N output=DIR [key=value ...]

Records demonstrations of a scripted expert in parallel processes as a LeRobot v3 dataset. Episodes are fixed
by their seeds, so any number of workers writes the same values. Started again on the same folder, it goes on
where it stopped. `robopolicy list` shows tasks and qualities. Of a group of tasks, as metaworld/MT10 or
tabletop/all, so many episodes of each are recorded.

A quality's knobs can be turned one by one: expert.KEY=VALUE. Those of tabletop are speed=[SLOWEST,FASTEST]
(factors), noise (rad), hesitate, miss and recover (chances), see sim/tabletop/quality.py; those of metaworld
noise=[LEAST,MOST] (shares of half an action's range) and memory, see sim/scripted.py; those of ogbench noise,
smoothing, min_norm and random_action, see sim/ogbench/quality.py.

  robopolicy collect task=tabletop/pick_place quality=mixed expert.miss=0.5 output=data/clumsy
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robopolicy.cli.compose import launch, split

CONFIG = "collect"


def run(args: Sequence[str]) -> None:
    """Collect what the configuration asks for."""
    words = split(args)
    words.some("collect [key=value ...]", least=0, most=0)
    launch(CONFIG, words, collect)


def collect(config: dict[str, Any]) -> Path:
    """Collect with a composed configuration; returns the dataset's folder."""
    from robopolicy.cli.pipeline import path_of
    from robopolicy.cli.progress import bar
    from robopolicy.core.build import fill
    from robopolicy.core.suites import members_of
    from robopolicy.train.collect import collect as record

    task, quality = config["task"], config["quality"]
    members_of(task)  # before it names a folder
    usual = Path("data") / f"{task.replace('/', '-')}-{quality}"
    out = usual if config["output"] is None else path_of(config["output"], "output")
    with bar(f"collecting {task}, {quality}") as report:
        asked = {
            **{key: config[key] for key in ("episodes", "seed", "observe", "only_success", "workers")},
            "task": task,
            "quality": quality,
            "env_options": config["env"],
            "expert_options": config["expert"],
        }
        fill(record, asked, out=out, progress=report)
    print(out)
    return out
