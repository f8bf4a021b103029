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


def reels(folder: Path | str, *, each: int = 1) -> list[Reel]:
    """The first successes and the first failures of each policy in an evaluation's folder.

    Args:
        folder: `out` of `evaluate`.
        each: how many of either.

    Raises:
        ConfigError: there is no evaluation in this folder.
    """
    folder, found = Path(folder), []
    for name, runs in read_results(folder)["runs"].items():
        records = [EpisodeRecord(**record) for record in runs[0]["episodes"]]
        for success in (True, False):
            chosen = [record for record in records if record.success == success][:each]
            found += [Reel(name, record, _actions(folder, name, records, record)) for record in chosen]
    return found


def replay_env(folder: Path | str, **options: Any) -> Env:
    """An environment like that of an evaluation; `options` of the suite are added to its own."""
    protocol = read_results(Path(folder))["protocol"]
    return suites.make_env(protocol["task"], **{**protocol["env_options"], **options})


def films(
    folder: Path | str,
    env: Env,
    *,
    each: int = 1,
    count: int = 6,
    observers: Sequence[Observer] = (),
    progress: Callable[[int, int], None] | None = None,
) -> list[Film]:
    """Film the reels of an evaluation.

    Args:
        folder, each: see `reels`.
        env: see `replay_env`.
        count: frames of a film.
        observers: guests of the replays, such as `view.rerun.RerunWriter`.
        progress: called with the films done and the films in all.
    """
    made, chosen = [], reels(folder, each=each)
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


def _actions(folder: Path, name: str, records: Sequence[EpisodeRecord], record: EpisodeRecord) -> np.ndarray:
    """Of the kept block that this episode is in."""
    at = records.index(record)
    for first in range(at, -1, -1):
        path = block_path(folder, name, 0, records[first].seed)
        if path.exists():
            return read_block(path)[1].actions[at - first]
    raise ConfigError(f"{folder} does not hold the actions of '{name}', seed {record.seed}; evaluate again")


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
            except UserError:  # no GL here
                self.drawn = True
        self.frames.append(draw(state, np.stack(self._trail)))
