"""The stages of `robopolicy quickstart`. To change what it does, change this list.

Each stage calls what the command of the same name calls, and says that command, so that it can be done by
hand. All of them go on by themselves where they were interrupted: episodes that are recorded, steps that are
checkpointed and blocks that are evaluated are not done again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robopolicy.cli.pipeline import Report, Run, Stage
from robopolicy.core.build import fill
from robopolicy.core.errors import ConfigError
from robopolicy.core.machine import num_workers
from robopolicy.core.ranges import in_range
from robopolicy.core.suites import demonstrator, find


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What quickstart is told: the schema of `configs/quickstart.yaml`, checked before the first stage.

    Args:
        task: `suite/task`.
        demonstrations: how many episodes of each quality.
        recipe: of `configs/exp`; it must learn from states, which is what is recorded.
        steps: updates, in the place of the recipe's.
        test_episodes: of the evaluation.
        seed: of everything random.
        workers: processes; None means one per core.
        fresh: do not go on with an unfinished run.
    """

    task: str
    demonstrations: Mapping[str, int]
    recipe: str
    steps: int
    test_episodes: int
    seed: int
    workers: int | None
    fresh: bool

    def __post_init__(self) -> None:
        from robopolicy.cli.compose import compose
        from robopolicy.train.settings import RunSettings

        find(self.task)
        for quality in self.demonstrations:
            demonstrator(self.task, quality)
        in_range(least=0, **{f"demonstrations.{quality}": n for quality, n in self.demonstrations.items()})
        if not sum(self.demonstrations.values()):
            raise ConfigError(f"demonstrations is {dict(self.demonstrations)}; one episode at least is meant")
        in_range(least=1, test_episodes=self.test_episodes)
        num_workers(self.workers)
        training = fill(RunSettings, compose("train", _train_words(vars(self), Path("data"))))
        if training.observe != "state":
            raise ConfigError(
                f"recipe is '{self.recipe}', which has observe={training.observe}, but quickstart records "
                "states alone; take another recipe, or collect and train by hand"
            )


def stages() -> tuple[Stage, ...]:
    """What quickstart does, in order."""
    return (
        Stage(name="collect", title="collect demonstrations", work=_collect, by_hand=_collect_by_hand),
        Stage(name="train", title="train the policy", work=_train, by_hand=_train_by_hand),
        Stage(name="evaluate", title="evaluate on test states", work=_evaluate, by_hand=_evaluate_by_hand),
        Stage(name="report", title="write report and recording", work=_report, by_hand=_report_by_hand),
    )


def _collect(run: Run, report: Report) -> Mapping[str, Any]:
    from robopolicy.data.lerobot import open_dataset
    from robopolicy.data.merge import merge
    from robopolicy.train.collect import collect

    asked, parts = run.settings, _parts(run)
    total, held = sum(asked["demonstrations"].values()), 0
    for quality, part, seed in parts:
        episodes = asked["demonstrations"][quality]
        collect(
            asked["task"],
            episodes,
            quality,
            part,
            workers=run.settings["workers"],
            seed=seed,
            progress=lambda done, _, held=held: report(held + done, total),
        )
        held += episodes
    data = run.folder / "data"
    if not data.exists():  # merging is all or nothing
        merge([part for _, part, _ in parts], data)
    success = open_dataset(data).load("state").success
    return {"episodes": len(success), "successful": int(success.sum())}


def _collect_by_hand(run: Run) -> str:
    asked, parts = run.settings, _parts(run)
    collected = [
        f"robopolicy collect task={asked['task']} quality={quality} "
        f"episodes={asked['demonstrations'][quality]} seed={seed} output={part}"
        for quality, part, seed in parts
    ]
    merged = f"robopolicy data merge {' '.join(str(part) for _, part, _ in parts)} {run.folder / 'data'}"
    return " && ".join([*collected, merged])


def _parts(run: Run) -> list[tuple[str, Path, int]]:
    """Quality, folder and first seed of each part of the data."""
    found, seed = [], run.settings["seed"]
    for quality, episodes in run.settings["demonstrations"].items():
        if episodes == 0:
            continue
        found.append((quality, run.folder / "parts" / quality, seed))
        seed += 2 * episodes  # collection works in blocks, which may begin beyond the last episode
    return found


def _train(run: Run, report: Report) -> Mapping[str, Any]:
    from robopolicy.cli.compose import compose
    from robopolicy.train.run import train

    config = compose("train", _train_words(run.settings, run.folder / "data"))
    train(config, run.folder, report=report, again="start the quickstart again with the same settings")
    return {"steps": config["steps"], "batch_size": config["batch_size"]}


def _train_words(asked: Mapping[str, Any], data: Path) -> list[str]:
    return [
        f"+exp={asked['recipe']}",
        f"data={data}",
        f"task={asked['task']}",
        f"steps={asked['steps']}",
        f"seed={asked['seed']}",
    ]


def _train_by_hand(run: Run) -> str:
    words = _train_words(run.settings, run.folder / "data")
    return f"robopolicy train {' '.join(words)} output={run.folder}"


def _evaluate(run: Run, report: Report) -> Mapping[str, Any]:
    from robopolicy.evaluate.rollout import evaluate
    from robopolicy.evaluate.worker import Protocol

    name = run.settings["recipe"]
    results = evaluate(
        {name: run.folder},
        Protocol(task=run.settings["task"]),
        episodes=run.settings["test_episodes"],
        split="test",
        workers=run.settings["workers"],
        out=_results(run),
        progress=report,
    )
    found = results.policies[name]
    return {"success": found.success, "interval": list(found.interval), "episodes": found.episodes}


def _evaluate_by_hand(run: Run) -> str:
    asked = run.settings
    return (
        f"robopolicy eval {run.folder} task={asked['task']} episodes={asked['test_episodes']} split=test "
        f"output={_results(run)}"
    )


def _report(run: Run, report: Report) -> Mapping[str, Any]:
    from robopolicy.cli.recording import record_results, report_results
    from robopolicy.evaluate.report import StageLine

    begun = time.monotonic()
    films = record_results(_results(run), recording(run), progress=report)
    report_results(
        _results(run),
        _page(run),
        title=f"Quickstart: {run.settings['task']}",
        shown=films,
        stages=[
            StageLine(
                name=stage.title,
                seconds=run.facts(stage.name).get("seconds", time.monotonic() - begun),  # of this one, so far
                command=stage.by_hand(run),
            )
            for stage in stages()
        ],
        notes=_notes(run),
    )
    return {"films": len(films)}


def _notes(run: Run) -> list[str]:
    data = run.facts("collect")
    kinds = ", ".join(f"{count} {quality}" for quality, count in run.settings["demonstrations"].items())
    return [
        f"Trained on {data['episodes']} demonstrations ({kinds}), of which {data['successful']} succeeded. "
        "Cloning repeats what its data do, mistakes included.",
        f"The episodes shown are in {recording(run).name} too: rerun {recording(run)}",
    ]


def _report_by_hand(run: Run) -> str:
    view = f"robopolicy view {_results(run)}"
    return f"{view} output={recording(run)} && {view} output={_page(run)}"


def recording(run: Run) -> Path:
    """The Rerun recording of a run."""
    return run.folder / "episodes.rrd"


def _page(run: Run) -> Path:
    return run.folder / "report.html"


def _results(run: Run) -> Path:
    return run.folder / "eval"
