"""Time of a training step, as a share of the machine's matrix rate: `python -m benchmarks.training`.

A step is `Trainer.step` on a batch of tensors: normalisation, loss, gradients, clipping, optimiser and
averaged weights; float32, one thread, state observations. The matrix rate is that of a 1024 x 1024 x 1024
product, measured before every five steps (before each, it would empty the caches in which a run of steps
lives), and the share is (floating-point operations of the step's products, as counted by torch) / (time of
the step) / (rate): what is not a product counts as lost. CPU time is used, so that a neighbour on the same
core does not count; the figures are medians.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from robopolicy.core.learner import Learner
from robopolicy.core.spec import Spec, Vector
from robopolicy.core.threads import keep_freed_memory
from robopolicy.core.types import Batch, Observation
from robopolicy.nn.dit import DiT
from robopolicy.nn.mlp import ChunkMLP
from robopolicy.nn.unet1d import UNet1d
from robopolicy.policies.act import ACTPolicy
from robopolicy.policies.diffusion import DiffusionPolicy
from robopolicy.policies.flow import FlowPolicy
from robopolicy.policies.gaussian import GaussianPolicy
from robopolicy.train.trainer import Trainer

SPEC = Spec(
    state=Vector.of({f"s{i}": (-1.0, 1.0, "1") for i in range(15)}),
    action=Vector.of({f"a{i}": (-1.0, 1.0, "rad") for i in range(6)}),
    control_hz=30,
)
MLP = partial(ChunkMLP, hidden=(512, 512, 512))
DIT = partial(DiT, width=256, depth=6)
UNET = partial(UNet1d, widths=(64, 128, 256))

# name: (batch, steps measured, learner)
ROWS: dict[str, tuple[int, int, Callable[[], Learner]]] = {
    "flow MLP 3 x 512, chunk 5": (256, 200, lambda: FlowPolicy(spec=SPEC, network=MLP, horizon=5, ema=0.999)),
    "flow residual MLP, chunk 16": (256, 100, lambda: FlowPolicy(spec=SPEC, ema=0.999)),
    "gaussian MLP 3 x 512, chunk 5": (256, 200, lambda: GaussianPolicy(spec=SPEC, horizon=5)),
    "flow DiT 7 M, chunk 16": (256, 8, lambda: FlowPolicy(spec=SPEC, network=DIT, ema=0.999)),
    "diffusion U-Net 64-128-256, chunk 16": (64, 12, lambda: DiffusionPolicy(spec=SPEC, network=UNET)),
    "ACT, chunk 50": (64, 6, lambda: ACTPolicy(spec=SPEC, horizon=50)),
}


def batch_of(learner: Learner, rows: int) -> Batch:
    """Random rows of the shapes that the learner's window asks for."""
    (window,) = learner.windows.values()
    assert window.chunk is not None
    horizon = window.chunk[1] - window.chunk[0]
    return Batch(
        obs=Observation(state=torch.randn(rows, len(window.obs), len(SPEC.state))),
        action=torch.rand(rows, horizon, len(SPEC.action)) * 2 - 1,
        is_pad=torch.zeros(rows, horizon, dtype=torch.bool),
        index=torch.arange(rows),
    )


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def measure(learner: Learner, rows: int, steps: int) -> dict[str, float]:
    """Milliseconds, rates and the share, as medians over `steps` steps."""
    keep_freed_memory()
    trainer = Trainer(learner=learner, optim={}, total=steps + 10, seed=0)
    batch = batch_of(learner, rows)
    a, b, out = (torch.randn(1024, 1024) for _ in range(3))
    for _ in range(3):
        trainer.step(batch)
    with FlopCounterMode(display=False) as counter:
        trainer.step(batch)
    flops = counter.get_total_flops()
    rates, seconds, rate = [], [], 0.0
    for step in range(steps):
        if step % 5 == 0:
            rate = 2 * 1024**3 / cpu_seconds(lambda: torch.mm(a, b, out=out))
        rates.append(rate)
        seconds.append(cpu_seconds(lambda: trainer.step(batch)))
    return {
        "millions": sum(p.numel() for p in learner.parameters() if p.requires_grad) / 1e6,
        "batch": rows,
        "ms": median(seconds) * 1e3,
        "gflop": flops / 1e9,
        "matmul_gflop_s": median(rates) / 1e9,
        "share": median(flops / s / r for s, r in zip(seconds, rates, strict=True)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--only", default="", help="rows whose name contains this")
    options.add_argument("--out", type=Path, help="also write the figures here, as JSON")
    asked = options.parse_args(arguments)
    torch.set_num_threads(1)
    figures = {}
    for name, (rows, steps, make) in ROWS.items():
        if asked.only in name:
            row = figures[name] = measure(make(), rows, steps)
            print(
                f"{name:38} {row['millions']:5.2f} M  batch {rows:3}  {row['ms']:8.1f} ms  "
                f"{row['share']:4.0%} of {row['matmul_gflop_s']:.0f} GFLOP/s",
                flush=True,
            )
    if asked.out:
        asked.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
