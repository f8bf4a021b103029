"""Filmstrips of evaluated episodes, replayed from the recorded actions: no policy is asked again.

Where the environment can render (`Pictured`) and the machine has GL, frames are its pictures; otherwise they
are drawn from the state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from robopolicy.control.loop import run_episode
from robopolicy.control.record import Replay
from robopolicy.core import suites
from robopolicy.core.errors import ConfigError, UserError
from robopolicy.core.protocols import Env, Observer
from robopolicy.core.types import Step
from robopolicy.evaluate.blocks import EpisodeRecord, block_path, read_block
from robopolicy.evaluate.results import read_results
from robopolicy.evaluate.sketch import draw

FAILURES = 3
"""Of each policy that are filmed, where nothing else is said."""


@runtime_checkable
class Pictured(Protocol):
    """An environment that can be looked at."""

    def render(self) -> np.ndarray:
        """A picture `[h w 3]` uint8 of now."""
        ...


@dataclass(frozen=True, kw_only=True)
class Film:
    """Frames of one episode.

    Args:
        name: of the policy.
        record: what became of it.
        text: the instruction.
        frames: `[h w 3]` uint8 each.
        times: seconds into the episode.
        drawn: the frames were drawn from the state, not rendered.
        faithful: the replay ended as the episode did.
    """

    name: str
    record: EpisodeRecord
    text: str
    frames: Sequence[np.ndarray]
    times: Sequence[float]
    drawn: bool
    faithful: bool


@dataclass(frozen=True)
class Reel:
    """What a replay needs: whose episode it was, its record, and its actions `[L A]`."""

    name: str
    record: EpisodeRecord
    actions: np.ndarray


def check_films(films: int) -> int:
    """Refuse a number of failures that is none; gives it back."""
    if films < 0:
        raise ConfigError(f"films is {films}; it must be a number of failures, or 0 for no films at all")
    return films


def reels(folder: Path | str, *, failures: int = FAILURES) -> list[Reel]:
    """The first success and the first failures of each policy in an evaluation's folder.

    Args:
        folder: `out` of `evaluate`.
        failures: how many; with 0 the success is left out, too. Of several training seeds, the first.

    Raises:
        ConfigError: there is no evaluation in this folder, or not the actions of its episodes.
    """
    folder, found = Path(folder), []
    check_films(failures)
    results = read_results(folder)
    rows = results["protocol"]["block_rows"]
    for name, runs in results["runs"].items():
        records = [EpisodeRecord(**record) for record in runs[0]["episodes"]]
        for success, most in ((True, min(1, failures)), (False, failures)):
            chosen = [at for at, record in enumerate(records) if record.success == success][:most]
            found += [Reel(name, records[at], _actions(folder, name, records, at, rows)) for at in chosen]
    return found


def replay_env(folder: Path | str, **options: Any) -> Env:
    """An environment like that of an evaluation; `options` of the suite are added to its own."""
    protocol = read_results(Path(folder))["protocol"]
    return suites.make_env(protocol["task"], **{**protocol["env_options"], **options})


def films(
    folder: Path | str,
    env: Env,
    *,
    failures: int = FAILURES,
    count: int = 6,
    observers: Sequence[Observer] = (),
    progress: Callable[[int, int], None] | None = None,
) -> list[Film]:
    """Film the reels of an evaluation.

    Args:
        folder, failures: see `reels`.
        env: see `replay_env`.
        count: frames of a film.
        observers: guests of the replays, such as `view.rerun.RerunWriter`.
        progress: called with the films done and the films in all.
    """
    made, chosen = [], reels(folder, failures=failures)
    for reel in chosen:
        made.append(film(env, reel, count=count, observers=observers))
        if progress is not None:
            progress(len(made), len(chosen))
    return made


def film(env: Env, reel: Reel, *, count: int = 6, observers: Sequence[Observer] = ()) -> Film:
    """Replay one episode and take `count` pictures, evenly from its first frame to its last."""
    record = reel.record
    ticks = sorted({round(tick) for tick in np.linspace(0, record.length, count)})
    shots = _Shots(env, set(ticks))
    replay = Replay([reel.actions])
    outcome = run_episode(env, replay, [shots, *observers], record.seed, max_steps=record.length)
    return Film(
        name=reel.name,
        record=record,
        text=shots.text,
        frames=shots.frames,
        times=[tick * env.spec.dt for tick in ticks],
        drawn=shots.drawn,
        faithful=(outcome.length, outcome.success) == (record.length, record.success),
    )


def _actions(folder: Path, name: str, records: Sequence[EpisodeRecord], at: int, rows: int) -> np.ndarray:
    """Of episode `at`, from the kept block that it is in.

    A later evaluation that was interrupted, or an earlier one in blocks of another size, may have left blocks
    of its own beside: what is taken must hold this very record.
    """
    first = at - at % rows
    lost = ConfigError(
        f"{folder} does not hold the actions of '{name}', seed {records[at].seed}, as results.json tells of "
        "it; evaluate again"
    )
    try:
        _, block = read_block(block_path(folder, name, 0, records[first].seed))
        record, actions = block.records[at - first], block.actions[at - first]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:  # absent or damaged
        raise lost from error
    if record != records[at]:
        raise lost
    return actions


class _Shots:
    """An observer that takes a picture at some ticks."""

    def __init__(self, env: Env, ticks: set[int]) -> None:
        self._env, self._ticks, self._tick = env, ticks, 0
        self._trail: list[np.ndarray] = []
        self.frames: list[np.ndarray] = []
        self.text, self.drawn = "", not isinstance(env, Pictured)

    def start(self, row: int, step: Step, seed: int) -> None:
        self.text = step.obs.text[0] if step.obs.text else ""
        self._look(step)

    def step(self, row: int, step: Step) -> None:
        self._tick += 1
        self._look(step)

    def end(self, row: int) -> None: ...

    def _look(self, step: Step) -> None:
        state = dict(zip(self._env.spec.state.names, map(float, step.obs.state), strict=True))
        self._trail.append(np.array([state.get(f"ee.{axis}", 0.0) for axis in "xyz"]))
        if self._tick not in self._ticks:
            return
        if not self.drawn and isinstance(self._env, Pictured):
            try:
                self.frames.append(self._env.render())
                return
            except UserError:  # no GL here, or an environment that is not drawn
                self.drawn = True
        self.frames.append(draw(state, np.stack(self._trail)))
