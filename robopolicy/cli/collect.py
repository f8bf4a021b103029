"""usage: robopolicy collect task=SUITE/TASK quality=NAME episodes=N output=DIR [key=value ...]

Records demonstrations of a scripted expert in parallel processes as a LeRobot v3 dataset. Episodes are fixed
by their seeds, so any number of workers writes the same data. Started again on the same folder, it goes on
where it stopped. `robopolicy list` shows tasks and qualities.
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
    from robopolicy.cli.progress import bar
    from robopolicy.core.build import fill
    from robopolicy.train.collect import collect as record

    task, quality = config["task"], config["quality"]
    out = Path(config["output"] or f"data/{task.replace('/', '-')}-{quality}")
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
