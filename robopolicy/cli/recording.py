"""What shows episodes that were recorded before: Rerun recordings, and the page about an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from robopolicy.core.protocols import Observer
from robopolicy.core.types import Episode, Observation, Step
from robopolicy.data.lerobot import open_dataset
from robopolicy.evaluate.film import FAILURES, Film, films, replay_env
from robopolicy.evaluate.report import StageLine, write_report
from robopolicy.evaluate.results import read_results
from robopolicy.train.log import read_log
from robopolicy.view.rerun import RerunWriter


def record_dataset(dataset: Path | str, episodes: Sequence[int] | None, out: Path) -> None:
    """Write episodes of a dataset, by their indices (None: the first three), into one recording.

    Raises:
        DatasetError: there is no such dataset or episode.
    """
    opened = open_dataset(dataset)
    if episodes is None:
        episodes = list(opened.episodes)[:3]
    with RerunWriter(out, spec=opened.spec) as writer:
        for index in episodes:
            play(opened.episode(index), writer)


def record_results(
    folder: Path,
    out: Path,
    *,
    failures: int = FAILURES,
    progress: Callable[[int, int], None] | None = None,
) -> list[Film]:
    """Replay the first success and the first failures of each policy of an evaluation into one recording.

    Args:
        folder: of the evaluation.
        out: the recording.
        failures: how many, for each policy.
        progress: told how many of how many episodes are done.

    Returns:
        The same episodes as films.
    """
    env = replay_env(folder)
    try:
        with RerunWriter(out, spec=env.spec) as writer:
            return films(folder, env, failures=failures, observers=[writer], progress=progress)
    finally:
        env.close()


def report_results(
    folder: Path,
    page: Path,
    *,
    title: str | None = None,
    failures: int = FAILURES,
    shown: Sequence[Film] | None = None,
    stages: Sequence[StageLine] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write the page about an evaluation, with the learning curves of the runs that it is of.

    Args:
        folder: of the evaluation.
        page: where it is written.
        title: of the page; by default the task.
        failures: to film of each policy.
        shown: the films, where `record_results` made them already.
        stages, notes: see `write_report`.
    """
    results = read_results(folder)
    if shown is None:
        env = replay_env(folder)
        try:
            shown = films(folder, env, failures=failures)
        finally:
            env.close()
    write_report(
        page,
        title=title or f"Evaluation: {results['protocol']['task']}",
        results=results,
        curves=_curves(results["protocol"]["policies"]),
        films=shown,
        stages=stages,
        notes=notes,
    )


def _curves(policies: Mapping[str, Sequence[str]]) -> dict[str, list[dict[str, Any]]]:
    """The log of each policy's run, where its checkpoint is still in one; of several training seeds, the
    first's.
    """
    runs = {name: Path(paths[0]).parent.parent for name, paths in policies.items()}
    return {name: lines for name, run in runs.items() if (lines := read_log(run))}


def play(episode: Episode, observer: Observer) -> None:
    """Show a recorded episode to an observer. The observation after the last action was not recorded."""
    last = len(episode) - 1

    def observed(tick: int) -> Observation:
        images = {name: frames[tick] for name, frames in episode.images.items()}
        return Observation(state=episode.state[tick], images=images, text=(episode.text,))

    observer.start(0, Step(obs=observed(0)), episode.seed)
    for tick in range(last + 1):
        step = Step(
            obs=observed(min(tick + 1, last)),
            reward=float(episode.reward[tick]),
            terminated=tick == last and episode.terminated,
            truncated=tick == last and not episode.terminated,
            applied=episode.action[tick],
            info={"success": tick == last and episode.success},
        )
        observer.step(0, step)
    observer.end(0)
