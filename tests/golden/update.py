"""Writes `losses.json` anew: `python tests/golden/update.py`, after a deliberate change, with its reason.

One number per method: the mean loss over 20 steps, all groups together, on tiny data, by plain gradient
descent. Adam would divide gradients that are zero but for rounding by themselves, and the numbers would
follow the machine's matrix kernels; descent keeps their order of magnitude, so that a relative 1e-5 tells a
change of the maths from a change of the machine.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml

from robopolicy.core.build import build
from robopolicy.testing import tiny_batch, tiny_learner, tiny_spec
from robopolicy.testing.learners import descend, rounds

HERE = Path(__file__).parent
GOLDEN = HERE / "losses.json"
CONFIGS = sorted((HERE.parents[1] / "configs" / "policy").glob("*.yaml"))
STEPS, RATE, ROWS = 20, 1e-4, 16


def mean_loss(config: Path) -> float:
    """Of the method in this file, over its first steps."""
    node = yaml.safe_load(config.read_text())
    learner = tiny_learner(lambda spec: build(node, spec=spec), tiny_spec())
    total = 0.0
    for step in range(STEPS):
        torch.manual_seed(step)  # dropout
        for losses in rounds(learner, tiny_batch(learner, step=step, rows=ROWS), step):
            descend(learner, losses, step=step, rate=RATE)
            total += sum(loss.value.item() for loss in losses)
    return total / STEPS


if __name__ == "__main__":
    torch.set_num_threads(1)
    GOLDEN.write_text(
        json.dumps({path.stem: mean_loss(path) for path in CONFIGS}, indent=1, allow_nan=False) + "\n"
    )
