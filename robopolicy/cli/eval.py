"""usage: robopolicy eval [NAME=]CHECKPOINT[,CHECKPOINT ...] ... [--compare] [key=value ...]

Rolls each policy out over the same seeded episodes and reports success with its 95 % interval and the latency
of a call. Writes results.json and report.html. Checkpoints joined by commas, or a folder of runs, are one
policy that was trained with several seeds.

With --compare, two or more policies are also compared, each with each, on the episodes they share: the
difference with its 95 % interval, and the exact McNemar test (one checkpoint each) or the bootstrap over
training seeds and initial states (several each; as many as the other). Finished episodes are kept: started
again with the same output and unchanged code, it goes on where it stopped.

Of a group (metaworld/MT10, tabletop/all), each task has so many episodes; the mean of all is told too.

  robopolicy eval runs/train/a runs/train/b --compare task=tabletop/pick_place episodes=100
  robopolicy eval flow=runs/flow/seed_1,runs/flow/seed_2 act=runs/act/seed_1,runs/act/seed_2 --compare
  robopolicy eval runs/flow runs/act --compare
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robopolicy.cli.compose import compose, launch, quote, split
from robopolicy.cli.sources import policies_of, set_apart
from robopolicy.core.errors import ConfigError

CONFIG = "eval"
USAGE = "eval [NAME=]CHECKPOINT[,CHECKPOINT ...] ... [--compare] [key=value ...]"


def run(args: Sequence[str]) -> None:
    """Evaluate the checkpoints named."""
    words = set_apart(split(args, flags=("--compare",)), keys=compose(CONFIG))
    comparing = "--compare" in words.flags
    given = words.some(USAGE, least=2 if comparing else 1, most=50)
    extra = [f"policies=[{','.join(map(quote, given))}]", *(["compare=true"] if comparing else [])]
    launch(CONFIG, words, evaluate, *extra)


def evaluate(config: dict[str, Any]) -> Path:
    """Evaluate with a composed configuration; returns the results' folder."""
    from robopolicy.cli.pipeline import output_folder
    from robopolicy.cli.progress import bar
    from robopolicy.cli.recording import report_results
    from robopolicy.cli.scores import all_tables
    from robopolicy.core import suites
    from robopolicy.core.build import fill
    from robopolicy.core.checkpoint import open_checkpoint
    from robopolicy.evaluate.film import check_films
    from robopolicy.evaluate.results import Results, pool
    from robopolicy.evaluate.rollout import evaluate as roll_out
    from robopolicy.evaluate.worker import Protocol

    policies = policies_of(config["policies"])
    first = next(iter(policies.values()))[0]
    task = config["task"] or open_checkpoint(first).task
    if task is None:
        raise ConfigError(f"{first} does not say what task it was trained for; add task=SUITE/TASK")
    tasks = suites.members_of(task)  # before anything is loaded or rolled out
    failures = fill(check_films, {"films": config["films"]})
    rules = {key: config[key] for key in ("execute", "latency_ticks", "max_steps", "device")}
    asked = {key: config[key] for key in ("episodes", "split", "workers", "compare", "looks")}
    if asked["looks"] and len(tasks) > 1:
        raise ConfigError(f"looks are for one task; {task} stands for {len(tasks)}")
    each: dict[str, Results] = {}
    with output_folder(config["output"], Path("runs/eval")) as out:
        for name in tasks:
            folder = out if name == task else out / name.partition("/")[2]
            protocol = fill(Protocol, {**rules, "task": name, "env_options": config["env"]})
            with bar(f"evaluating on {name}") as progress:
                given = {"policies": policies, "protocol": protocol, "out": folder, "progress": progress}
                each[name] = fill(roll_out, asked, **given)
            report_results(folder, folder / "report.html", failures=failures)
        results = each[task] if task in each else pool(each, task=task)
        results.save(out / "results.json")
    print(all_tables(results, each))
    print(out)
    return out
