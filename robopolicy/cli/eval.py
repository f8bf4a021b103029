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
    from robopolicy.cli.pipeline import new_folder
    from robopolicy.cli.progress import bar
    from robopolicy.cli.recording import report_results
    from robopolicy.core import suites
    from robopolicy.core.build import fill
    from robopolicy.core.checkpoint import open_checkpoint
    from robopolicy.evaluate.rollout import evaluate as roll_out
    from robopolicy.evaluate.worker import Protocol

    paths = config["policies"]
    if twice := sorted({path for path in paths if paths.count(path) > 1}):
        raise ConfigError(f"{twice[0]} is given more than once; name each checkpoint once")
    task = config["task"] or open_checkpoint(paths[0]).task
    if task is None:
        raise ConfigError(f"{paths[0]} does not say what task it was trained for; add task=SUITE/TASK")
    suites.find(task)  # before anything is loaded or rolled out
    out = Path(config["output"]) if config["output"] else new_folder(Path("runs/eval"))
    rules = {key: config[key] for key in ("execute", "latency_ticks", "max_steps", "device")}
    protocol = fill(Protocol, {**rules, "task": task, "env_options": config["env"]})
    asked = {key: config[key] for key in ("episodes", "split", "workers", "looks")}
    policies = dict(zip(names(paths), paths, strict=True))
    with bar(f"evaluating on {task}") as progress:
        results = fill(roll_out, asked, policies=policies, protocol=protocol, out=out, progress=progress)
    report_results(out, title=f"Evaluation: {task}")
    for name, result in results.policies.items():
        low, high = result.interval
        print(
            f"{name}: success {result.success:.3f} [{low:.3f}, {high:.3f}] of {result.episodes} episodes, "
            f"{result.latency_ms['p50']:.1f} ms a call (p99 {result.latency_ms['p99']:.1f})"
        )
    for pair in results.comparisons:
        low, high = pair.interval
        p_value = "" if pair.p_holm is None else f", p {pair.p_holm:.3g} (McNemar, Holm)"
        print(f"{pair.a} - {pair.b}: {pair.difference:+.3f} [{low:+.3f}, {high:+.3f}]{p_value}")
    if results.stopped is not None:
        print(f"decided after {results.stopped['episodes']} of {config['episodes']} episodes")
    print(out)
    return out


def names(paths: Sequence[str]) -> list[str]:
    """A short name for each checkpoint: its run's folder, or the whole path where that is not enough."""
    short = [Path(path.removesuffix("/").removesuffix("/checkpoints/last")).name for path in paths]
    return short if len(set(short)) == len(short) else list(paths)
