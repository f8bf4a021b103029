"""Speed of evaluation with one worker and with two: `python benchmarks/evaluation.py`.

A flow policy with fresh weights is rolled out in tabletop/pick_place. Weights do not matter for speed: hardly
an episode succeeds, so that nearly all run to the time limit. Whole calls are timed, start of the workers and
measurement of latency included, alternately; the ratio is that of the fastest calls.

Run it on an idle machine of two cores or more.
"""

from __future__ import annotations

import argparse
import os
import time

from robopolicy.core.threads import use_threads

TASK = "tabletop/pick_place"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    use_threads(1)

    # imported here, because a worker imports this file too and needs none of it
    import torch

    from robopolicy.core.suites import make_env
    from robopolicy.evaluate.rollout import evaluate
    from robopolicy.evaluate.worker import Protocol
    from robopolicy.policies.flow import FlowPolicy

    torch.manual_seed(0)
    policy, protocol = FlowPolicy(spec=make_env(TASK).spec, horizon=16), Protocol(task=TASK)
    walls: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(asked.rounds):
        for workers in (1, 2):
            begun = time.perf_counter()
            results = evaluate({"flow": policy}, protocol, episodes=asked.episodes, workers=workers)
            wall = time.perf_counter() - begun
            walls[workers].append(wall)
            steps = sum(record.length for record in results.records["flow"][0])
            print(
                f"{workers} worker(s): {wall:6.1f} s, {asked.episodes / wall:5.2f} episodes/s, "
                f"{steps / wall:5.0f} control steps/s; "
                f"load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    print(f"two workers are {min(walls[1]) / min(walls[2]):.2f}x one (asked: 1.7x)")


if __name__ == "__main__":
    main()
