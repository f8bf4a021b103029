"""What shows episodes that were recorded before: Rerun recordings, and the page about an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from robopolicy.core.protocols import Observer
from robopolicy.core.types import Episode, Observation, Step
from robopolicy.data.lerobot import open_dataset
from robopolicy.evaluate.film import Film, films, replay_env
from robopolicy.evaluate.report import write_report
from robopolicy.evaluate.results import read_results
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
    folder: Path, out: Path, *, each: int = 1, progress: Callable[[int, int], None] | None = None
) -> list[Film]:
    """Replay the first successes and failures of each policy of an evaluation into one recording.

    Args:
        folder: of the evaluation.
        out: the recording.
        each: how many of either, for each policy.
        progress: told how many of how many episodes are done.

    Returns:
        The same episodes as films.
    """
    env = replay_env(folder)
    try:
        with RerunWriter(out, spec=env.spec) as writer:
            return films(folder, env, each=each, observers=[writer], progress=progress)
    finally:
        env.close()


def report_results(folder: Path, *, title: str) -> None:
    """Write `folder/report.html` about an evaluation, with the films that `record_results` returns."""
    env = replay_env(folder)
    try:
        shown = films(folder, env)
    finally:
        env.close()
    write_report(folder / "report.html", title=title, results=read_results(folder), films=shown)


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
