"""One side of a comparison: a process that measures the case it is told to, when it is told to.

Each side lives in its own environment, so the two cannot share a process; the parent asks them in turn
and the one not asked waits, blocked on its input. A request is a line `case repeats`, an answer a line of
JSON. Needs torch only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured: `run` once is one training step or one inference; `parameters` says how big it is."""

    run: Callable[[], object]
    parameters: int


def matmul() -> Case:
    """The machine's measured rate: a 1024 x 1024 x 1024 product of float32."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    return Case(run=lambda: a @ b, parameters=0)


def size(module: torch.nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def serve(cases: Mapping[str, Callable[[], Case]]) -> None:
    """Answer requests until the input ends. A case is built and warmed up when it is first asked for.

    An answer holds the medians of wall and CPU seconds over the repeats: with one thread the two agree on an
    idle machine, and CPU seconds are the ones to compare on a busy one.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to stderr
    torch.set_num_threads(1)
    built: dict[str, tuple[Case, int]] = {}
    for line in sys.stdin:
        name, repeats = line.split()
        if name not in built:
            case = cases[name]()
            case.run()
            with FlopCounterMode(display=False) as counter:
                case.run()
            built[name] = case, counter.get_total_flops()
        case, flops = built[name]
        wall, cpu = [], []
        for _ in range(int(repeats)):
            started = time.perf_counter(), time.process_time()
            case.run()
            wall.append(time.perf_counter() - started[0])
            cpu.append(time.process_time() - started[1])
        answer = {
            "wall": median(wall),
            "cpu": median(cpu),
            "parameters": case.parameters,
            "flops": flops,
        }
        print(json.dumps(answer), file=answers, flush=True)
