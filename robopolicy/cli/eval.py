"""usage: robopolicy eval CHECKPOINT [CHECKPOINT ...] [--compare] [key=value ...]

Rolls each checkpoint out over the same seeded episodes and reports success with its 95 % interval and the
latency of a call. Writes results.json and report.html. With --compare, two or more checkpoints, pairs are
compared on the episodes they share (exact McNemar, interval of the difference). Finished episodes are kept:
started again with the same output, it goes on where it stopped.

  robopolicy eval runs/train/a runs/train/b --compare task=tabletop/pick_place episodes=100
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robopolicy.cli.compose import launch, quote, split
from robopolicy.core.errors import ConfigError

CONFIG = "eval"
USAGE = "eval CHECKPOINT [CHECKPOINT ...] [--compare] [key=value ...]"


def run(args: Sequence[str]) -> None:
    """Evaluate the checkpoints named."""
    words = split(args, flags=("--compare",))
    paths = words.some(USAGE, least=2 if "--compare" in words.flags else 1, most=50)
    launch(CONFIG, words, evaluate, f"policies=[{','.join(map(quote, paths))}]")


def evaluate(config: dict[str, Any]) -> Path:
    """Evaluate with a composed configuration; returns the results' folder."""
    raise ConfigError("not written")
