"""usage: robopolicy train data=DIR policy=NAME [output=DIR] [key=value ...] [-m]

Learns a policy from a dataset. Keys below `policy` are arguments of its constructor: the YAML shows what
differs from the defaults in the code. Started again on the same output folder, it goes on from its newest
checkpoint. Several values with -m sweep, each combination in a folder of its own:

  robopolicy train data=data/tabletop-pick_place-expert policy=flow,diffusion seed=0,1,2 output=runs/sweep -m
  robopolicy eval runs/sweep/policy_flow runs/sweep/policy_diffusion --compare
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robopolicy.cli.compose import launch, split

CONFIG = "train"


def run(args: Sequence[str]) -> None:
    """Train what the configuration describes."""
    words = split(args)
    words.some("train [key=value ...]", least=0, most=0)
    launch(CONFIG, words, train)


def train(config: dict[str, Any]) -> Path:
    """Train with a composed configuration; returns the checkpoint's folder."""
    from robopolicy.cli.pipeline import output_folder
    from robopolicy.core.build import fill
    from robopolicy.train import run as training
    from robopolicy.train.collect import task_of
    from robopolicy.train.settings import RunSettings

    settings = fill(RunSettings, config)  # before anything is read or made
    task = settings.task or task_of(settings.data)
    with output_folder(config["output"], Path("runs/train")) as out:
        checkpoint = training.train({**config, "task": task}, out)
    print(checkpoint)
    return checkpoint
