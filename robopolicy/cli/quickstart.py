"""usage: robopolicy quickstart [key=value ...]

The whole path once: collects demonstrations of mixed quality in parallel processes, trains a chunked flow
policy on them, evaluates it over seeded episodes that it has not seen, and writes runs/quickstart/<time>/:
dataset, checkpoints, report.html and a Rerun recording. Interrupted and started again with the same
settings, it goes on where it stopped. The stages are listed in robopolicy/cli/stages.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robopolicy.cli.compose import launch, split
from robopolicy.core.errors import ConfigError

CONFIG = "quickstart"
ROOT = Path("runs/quickstart")


def run(args: Sequence[str]) -> None:
    """Carry out the stages that are not done."""
    words = split(args)
    words.some("quickstart [key=value ...]", least=0, most=0)
    if "-m" in words.flags:
        raise ConfigError("quickstart is one run; sweep with `robopolicy train ... -m`")
    launch(CONFIG, words, quickstart)


def quickstart(config: dict[str, Any]) -> Path:
    """Run with a composed configuration; returns the run's folder."""
    from rich.console import Console

    from robopolicy.cli.pipeline import begin, carry_out, point_latest
    from robopolicy.cli.stages import Settings, stages
    from robopolicy.core.build import fill

    fill(Settings, config)  # before a folder is made
    fresh = config.pop("fresh")
    console, todo = Console(), stages()
    run = begin(ROOT, config, todo, fresh=fresh)
    console.print(f"{config['task']}: everything goes to {run.folder}", highlight=False)
    carry_out(run, todo, console)
    latest = point_latest(run)
    found, seconds = run.facts("evaluate"), sum(run.facts(stage.name)["seconds"] for stage in todo)
    low, high = found["interval"]
    console.print(
        f"\nsuccess {found['success']:.2f} [{low:.2f}, {high:.2f}] over {found['episodes']} unseen episodes, "
        f"in {seconds / 60:.1f} minutes\n"
        f"report      {latest / 'report.html'}\n"
        f"recording   rerun {latest / 'episodes.rrd'}\n"
        f"checkpoint  {latest / 'checkpoints' / 'last'}",
        highlight=False,
        soft_wrap=True,
    )
    return run.folder
