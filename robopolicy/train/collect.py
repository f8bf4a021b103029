"""Collects demonstrations of a scripted expert in parallel processes into one dataset.

Episode i begins with seed `seed + i`. Episodes are run in fixed blocks and written by one writer in the order
of their seeds, so that the dataset does not depend on the number of workers. `meta/collect.json` says how far
the seeds are used up; a collection that was interrupted goes on there, and a finished one can be asked for
more. It also holds the versions of the simulators that the last episodes were made with, and what else an
environment tells of how it is set up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from robopolicy.control.loop import run_episodes
from robopolicy.control.record import Recorder
from robopolicy.control.workers import run_in_order
from robopolicy.core import suites
from robopolicy.core.build import fill
from robopolicy.core.errors import ConfigError, DatasetError, UserError
from robopolicy.core.machine import num_workers
from robopolicy.core.protocols import Configured
from robopolicy.core.provenance import versions
from robopolicy.core.ranges import in_range
from robopolicy.core.spec import Spec
from robopolicy.core.types import Episode
from robopolicy.data import collected
from robopolicy.data import format as fmt
from robopolicy.data.lerobot import open_dataset
from robopolicy.data.merge import merge
from robopolicy.data.writer import DatasetWriter

BLOCK = 5  # episodes in lock-step: the expert's arithmetic is shared, a killed run loses few
TRIES = 20  # seeds for each wanted episode, where failures are left out


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is collected; a dataset holds one kind.

    Args:
        task: `suite/task`, or a group of them.
        quality: preset of the suite's expert.
        observe: `state`, `pixels` or `all`: what is recorded. The expert sees everything.
        seed: of the first episode.
        only_success: leave failed demonstrations out; otherwise they are kept and marked.
        env_options, expert_options: of the suite.
    """

    task: str
    quality: str
    observe: str = "state"
    seed: int = 0
    only_success: bool = False
    env_options: Mapping[str, Any] = field(default_factory=dict)
    expert_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for options, name, said in (
            (self.env_options, "env.observe", f"observe={self.observe}"),
            (self.expert_options, "expert.quality", f"quality={self.quality}"),
            (self.expert_options, "expert.rows", "the blocks of a collection"),
            (self.expert_options, "expert.spec", "the options of env"),
        ):
            if name.partition(".")[2] in options:
                raise ConfigError(f"{name} cannot be given; it follows from {said}")

    def make_env(self) -> suites.Env:
        """An environment that shows the expert the whole state, and renders only if frames are recorded."""
        shown = "state" if self.observe == "state" else "all"
        usual = suites.find(self.task)[0].env_options.get(self.quality, {})
        return suites.make_env(self.task, **{"observe": shown, **usual, **self.env_options})

    def make_expert(self, spec: Spec, rows: int) -> suites.Agent:
        """The demonstrator for environments of `spec`, whose actions it gives."""
        return suites.make_expert(
            self.task, quality=self.quality, rows=rows, spec=spec, **self.expert_options
        )

    def to_plain(self) -> dict[str, Any]:
        """JSON values."""
        return {
            **vars(self),
            "env_options": dict(self.env_options),
            "expert_options": dict(self.expert_options),
        }


def collect(
    task: str,
    episodes: int,
    quality: str,
    out: Path | str,
    workers: int | None = 1,
    seed: int = 0,
    *,
    observe: str = "state",
    only_success: bool = False,
    env_options: Mapping[str, Any] | None = None,
    expert_options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Record episodes until the dataset `out` holds `episodes` of them; returns its folder.

    Of a group of tasks `suite/group` it holds so many of each, merged from parts of one task that are kept in
    `out` + `.parts`, whence an interrupted collection goes on.

    Args:
        workers: processes that run environments and experts; None means one per core.
        progress: called with the episodes held and the episodes wanted.

    The other arguments are those of `Request`.

    Raises:
        UserError: an unknown task, quality or option.
        DatasetError: `out` holds something else, or too few seeds succeed.
    """
    request = Request(
        task=task,
        quality=quality,
        observe=observe,
        seed=seed,
        only_success=only_success,
        env_options=env_options or {},
        expert_options=expert_options or {},
    )
    out, workers, progress = Path(out), num_workers(workers), progress or (lambda held, wanted: None)
    members = suites.members_of(task)
    if members == (task,):
        return _collect(request, episodes, out, workers, progress)
    wanted = episodes * len(members)
    if out.exists() and (held := open_dataset(out).num_episodes) != wanted:
        raise DatasetError(
            f"{out} holds {held} episodes, but {episodes} of each of {len(members)} tasks are wanted; remove "
            "it to have its parts merged anew, or choose another folder"
        )
    parts = [out.with_name(f"{out.name}.parts") / member.partition("/")[2] for member in members]
    for number, (member, part) in enumerate(zip(members, parts, strict=True)):
        shifted = partial(_shifted, progress, episodes * number, wanted)
        _collect(replace(request, task=member), episodes, part, workers, shifted)
    if not out.exists():  # merging is all or nothing
        merge(parts, out)
    return out


def _shifted(progress: Callable[[int, int], None], before: int, wanted: int, held: int, _: int) -> None:
    """Tell of one part what it means for the whole."""
    progress(before + held, wanted)


def _collect(
    request: Request, episodes: int, out: Path, workers: int, progress: Callable[[int, int], None]
) -> Path:
    """Record one task's episodes."""
    spec, settings = _described(request)
    seed, only_success = request.seed, request.only_success
    tries = episodes * TRIES if only_success else episodes
    if episodes < 1 or seed not in suites.COLLECTION or seed + tries + BLOCK > suites.COLLECTION.stop:
        raise ConfigError(
            f"episodes {episodes} from seed {seed}: give at least one episode, and seeds below "
            f"{suites.COLLECTION.stop}, where those of evaluation begin"
        )
    with (
        DatasetWriter(out, spec=spec, robot_type=request.task.partition("/")[0]) as writer,
        _Progress(out, request, settings, writer) as log,
    ):
        begun = log.read(writer.num_episodes)
        again = writer.num_episodes - begun.episodes  # written already, of the block that was cut off
        blocks = [
            tuple(range(seed + first, seed + first + BLOCK)) for first in range(begun.seeds, tries, BLOCK)
        ]
        progress(min(writer.num_episodes, episodes), episodes)
        if writer.num_episodes >= episodes:
            return out
        with closing(run_in_order(_Worker(request, spec), blocks, workers=workers)) as finished:
            for count, block in enumerate(finished, start=1):
                wanted = [episode for episode in block if episode.success or not only_success]
                fresh, again = wanted[again:], max(0, again - len(wanted))
                room = episodes - writer.num_episodes
                for episode in fresh[:room]:
                    writer.append(episode)
                    progress(writer.num_episodes, episodes)
                if len(fresh) <= room:
                    log.write(seeds=begun.seeds + count * BLOCK, episodes=writer.num_episodes)
                if writer.num_episodes >= episodes:
                    return out
        raise DatasetError(
            f"{tries} seeds of {request.task} with quality '{request.quality}' gave only "
            f"{writer.num_episodes} successes of {episodes} wanted; they are kept in {out}. Choose a better "
            "quality, or keep failures too"
        )


def _described(request: Request) -> tuple[Spec, dict[str, Any]]:
    """The spec of what is recorded, and the settings of the environment."""
    env = request.make_env()
    try:
        request.make_expert(env.spec, rows=1)
        return env.spec.observe(request.observe), dict(env.settings) if isinstance(env, Configured) else {}
    finally:
        env.close()


@dataclass(frozen=True)
class _Worker:
    """Makes the function that runs a block of seeds."""

    request: Request
    spec: Spec

    @contextmanager
    def __call__(self) -> Iterator[Callable[[tuple[int, ...]], list[Episode]]]:
        request = self.request
        envs = [request.make_env() for _ in range(BLOCK)]
        expert = request.make_expert(envs[0].spec, rows=BLOCK)

        def run(seeds: tuple[int, ...]) -> list[Episode]:
            episodes: list[Episode] = []
            recorder = Recorder(self.spec, episodes.append, env_spec=envs[0].spec, source="expert")
            run_episodes(envs, expert, seeds, [recorder])
            return sorted(episodes, key=lambda episode: episode.seed)

        try:
            yield run
        finally:
            for env in envs:
                env.close()


@dataclass(frozen=True)
class _Begun:
    seeds: int
    episodes: int

    def __post_init__(self) -> None:
        in_range(least=0, seeds=self.seeds, episodes=self.episodes)


class _Progress(AbstractContextManager["_Progress"]):
    """How many seeds are used up, and how many episodes the dataset held by then.

    Where it is left with nothing recorded, it leaves nothing: a folder that holds no dataset takes none.
    """

    def __init__(
        self, out: Path, request: Request, settings: Mapping[str, Any], writer: DatasetWriter
    ) -> None:
        self._path, self._writer = out / collected.COLLECTED, writer
        self._made_with = {"versions": versions(), "settings": settings}
        self._request = json.loads(json.dumps(request.to_plain()))  # as it is read again

    def __exit__(self, *_: object) -> None:
        if not self._writer.num_episodes:
            self._path.unlink(missing_ok=True)
            with suppress(OSError):  # somebody else's file is in it
                self._path.parent.rmdir()

    def read(self, held: int) -> _Begun:
        """Where to go on, in a dataset that holds `held` episodes."""
        elsewhere = "choose another folder, and merge them later"
        if not self._path.exists() or collected.is_merged(self._path.parents[1]):
            if held:
                raise DatasetError(
                    f"{self._path.parents[1]} holds {held} episodes that were not collected here; {elsewhere}"
                )
            self.write(seeds=0, episodes=0)
            return _Begun(0, 0)
        try:
            raw = fmt.read_json(self._path)
            request, begun = raw["request"], fill(_Begun, {key: raw[key] for key in ("seeds", "episodes")})
            different = {key: value for key, value in request.items() if self._request.get(key) != value}
        except (UserError, LookupError, AttributeError, TypeError) as error:
            raise DatasetError(
                f"{self._path} is damaged, so it is not known how to go on ({error}); {elsewhere}"
            ) from error
        if different or request.keys() != self._request.keys():
            raise DatasetError(
                f"{self._path.parents[1]} was collected with {different or request}; ask for the same, "
                "or choose another folder"
            )
        return begun

    def write(self, *, seeds: int, episodes: int) -> None:
        """Remember, whole or not at all."""
        made = {"request": self._request, **self._made_with, "seeds": seeds, "episodes": episodes}
        fmt.write_json(self._path, made)


def task_of(dataset: Path | str) -> str | None:
    """The task a dataset was collected from; None where it was not collected here, or from several."""
    tasks = collected.tasks(Path(dataset))
    return tasks[0] if len(tasks) == 1 else None
