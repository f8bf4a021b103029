"""Speed of evaluation with one worker and with two: `python -m benchmarks.evaluation`.

A flow policy with fresh weights is rolled out in tabletop/pick_place. Weights do not matter for speed: hardly
an episode succeeds, so that nearly all run to the time limit. Whole calls are timed, start of the workers
included, alternately; the ratio is that of the fastest calls. Run it on an idle machine of two cores or more.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict

from robopolicy.core.threads import use_threads

use_threads(1)

import torch  # noqa: E402

from robopolicy.core.suites import make_env  # noqa: E402
from robopolicy.evaluate.rollout import evaluate  # noqa: E402
from robopolicy.policies.flow import FlowPolicy  # noqa: E402

TASK = "tabletop/pick_place"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    torch.manual_seed(0)
    policy = FlowPolicy(spec=make_env(TASK).spec, horizon=16)
    seconds: dict[int, list[float]] = defaultdict(list)
    for _ in range(asked.rounds):
        for workers in (1, 2):
            begun = time.perf_counter()
            results = evaluate({"flow": policy}, TASK, episodes=asked.episodes, workers=workers)
            seconds[workers].append(time.perf_counter() - begun)
            steps = sum(record.length for record in results.records["flow"][0])
            print(
                f"{workers} worker(s): {seconds[workers][-1]:6.1f} s, "
                f"{asked.episodes / seconds[workers][-1]:5.2f} episodes/s, "
                f"{steps / seconds[workers][-1]:6.0f} control steps/s, load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    print(f"two workers are {min(seconds[1]) / min(seconds[2]):.2f}x one (asked: 1.7x)")


if __name__ == "__main__":
    main()
