"""The scores in `configs/exp/`: `python -m benchmarks.recipes pick_place_flow`.

For each recipe: demonstrations are collected (of each task where the recipe names a group of them), one
policy is trained for each training seed, in parallel processes, and all are evaluated on the same initial
states. Whatever is done already under `--out` is not done again.

Settings were chosen with `--split dev --seeds 1`; what is quoted is the default, three fresh seeds on test
states.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from robopolicy.cli.compose import compose
from robopolicy.core.suites import members_of
from robopolicy.core.threads import usable_cores, use_threads
from robopolicy.evaluate.rollout import evaluate
from robopolicy.evaluate.worker import Protocol
from robopolicy.train.collect import collect
from robopolicy.train.log import read_log
from robopolicy.train.parallel import train_all


def core_hours(run: Path) -> float:
    """Hours of one training, which has one thread, without its interruptions: from its log."""
    seconds, before = 0.0, 0
    for entry in read_log(run):
        if "steps_per_s" in entry:
            seconds += (entry["step"] - before) / entry["steps_per_s"]
            before = entry["step"]
    return seconds / 3600


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="+", help="names of files in configs/exp")
    parser.add_argument("--demonstrations", type=int, default=100, help="of each task")
    parser.add_argument("--quality", default="expert", help="of the demonstrations")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--split", default="test", choices=["dev", "test"])
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--set", nargs="*", default=[], help="overrides, to try other settings")
    asked = parser.parse_args()
    use_threads()
    for recipe in asked.recipes:
        config = compose("train", [f"+exp={recipe}", "data=to_be_collected", *asked.set])
        task, observe = config["task"], config["observe"]
        tasks = members_of(task)
        named = f"{task.replace('/', '-')}-{asked.quality}-{observe}-{asked.demonstrations}"
        data = collect(
            task,
            asked.demonstrations,
            asked.quality,
            asked.out / "data" / named,
            usable_cores(),
            observe=observe,
        )
        runs = {
            asked.out / recipe / f"seed_{seed}": {**config, "data": str(data), "seed": seed}
            for seed in asked.seeds
        }
        train_all(runs)
        rates = []
        for task in tasks:
            folder = asked.out / recipe / f"{asked.split}-{task.replace('/', '-')}"
            results = evaluate(
                {recipe: list(runs)},
                Protocol(task=task),
                episodes=asked.episodes,
                split=asked.split,
                workers=usable_cores(),
                out=folder,
            )
            found = results.policies[recipe]
            each = [np.mean([episode.success for episode in run]) for run in results.records[recipe]]
            rates.append(found.success)
            low, high = found.interval
            print(
                f"{recipe} {task}: {found.success:.1%} [{low:.1%}, {high:.1%}], seeds "
                f"{' '.join(f'{s}: {rate:.0%}' for s, rate in zip(asked.seeds, each, strict=True))}, "
                f"{found.latency_ms['p50']:.1f} ms a call",
                flush=True,
            )
        hours = ", ".join(f"{core_hours(run):.2f}" for run in runs)
        print(
            f"{recipe}: mean over {len(tasks)} task(s) {np.mean(rates):.1%}; core-hours {hours}", flush=True
        )


if __name__ == "__main__":
    main()
