"""A flow policy with fewer integration steps: `python -m benchmarks.steps RUN [RUN ...]`.

Each checkpoint of one recipe is evaluated with 10, 2 and 1 steps, on the same initial states; latencies are
of one call of `sample` for one row, asked in turn. Printed: success, its difference to ten steps, and the
latency as a share of theirs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from robopolicy.control.executor import batch_of
from robopolicy.core import checkpoint
from robopolicy.core.noise import EpisodeNoise
from robopolicy.core.suites import make_env
from robopolicy.core.threads import usable_cores, use_threads
from robopolicy.evaluate.rollout import evaluate
from robopolicy.evaluate.worker import Protocol
from robopolicy.policies.flow import FlowPolicy

FULL = 10
COUNTS = (FULL, 2, 1)
CALLS = 300


def with_steps(run: Path, steps: int) -> FlowPolicy:
    """The policy of a run, integrating in this many steps."""
    policy = checkpoint.load(run)
    if not isinstance(policy, FlowPolicy):
        raise SystemExit(f"{run} holds a {type(policy).__name__}; a FlowPolicy is meant")
    policy.steps = steps
    return policy


def latencies(policies: dict[int, FlowPolicy], task: str) -> dict[int, float]:
    """Median ms of a call, the policies asked in turn."""
    env = make_env(task)
    taken: dict[int, list[float]] = {steps: [] for steps in policies}
    shown = Protocol(task=task).executor(policies[FULL], env.spec).pick(env.reset(0).obs)
    obs = batch_of([[shown] * policies[FULL].obs_steps], "cpu")
    for i in range(CALLS):
        for steps, policy in policies.items():
            begun = time.perf_counter()
            policy.sample(obs, noise=EpisodeNoise(seeds=[0], ticks=[i]))
            taken[steps].append(1000 * (time.perf_counter() - begun))
    return {steps: statistics.median(times) for steps, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="runs of one recipe that differ by training seed")
    parser.add_argument("--split", default="test", choices=["dev", "test"])
    parser.add_argument("--episodes", type=int, default=100)
    asked = parser.parse_args()
    use_threads()
    task = checkpoint.open_checkpoint(asked.runs[0]).task
    if task is None:
        raise SystemExit(f"{asked.runs[0]} does not say what task it was trained for")
    results = evaluate(
        {str(steps): [with_steps(run, steps) for run in asked.runs] for steps in COUNTS},
        Protocol(task=task),
        episodes=asked.episodes,
        split=asked.split,
        workers=usable_cores(),
    )
    ms = latencies({steps: with_steps(asked.runs[0], steps) for steps in COUNTS}, task)
    pairs = {(pair.a, pair.b): pair for pair in results.comparisons}
    for steps in COUNTS:
        found = results.policies[str(steps)]
        each = " ".join(
            f"{np.mean([e.success for e in records]):.0%}" for records in results.records[str(steps)]
        )
        line = f"{steps:3d} steps: {found.success:.1%} (seeds {each}), "
        line += f"{ms[steps]:.2f} ms, {ms[steps] / ms[FULL]:.2f}x"
        if (pair := pairs.get((str(FULL), str(steps)))) is not None:
            low, high = pair.interval
            line += f"; loses {pair.difference:+.1%} [{low:+.1%}, {high:+.1%}]"
        print(line, flush=True)


if __name__ == "__main__":
    main()
