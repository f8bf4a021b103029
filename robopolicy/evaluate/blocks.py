"""Blocks of episodes: the unit of parallel work, and what a run that was interrupted finds again.

    episodes/<policy>-<training seed>/<first seed>.json    records, and the hash of all that decides them
    episodes/<policy>-<training seed>/<first seed>.npy     the actions of its episodes, one after another

The actions, with the seeds, are all that a replay needs.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robopolicy.control.loop import Outcome
from robopolicy.control.workers import run_in_order
from robopolicy.core.files import write_text, writing
from robopolicy.core.provenance import provenance


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord(Outcome):
    """One episode.

    Args:
        underruns: ticks without an action of the policy.
        wall_s: this episode's share of its block's time.
    """

    underruns: int = 0
    wall_s: float = 0.0


@dataclass(frozen=True)
class Job:
    """One block of one policy: its name, which of its training seeds, and the seeds of the episodes."""

    name: str
    replica: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """What a job gave: a record and the actions `[L A]` of each episode."""

    records: tuple[EpisodeRecord, ...]
    actions: tuple[np.ndarray, ...]


class Keep:
    """Runs jobs, but for those whose result is on disk and was made from the same.

    Args:
        folder: of the evaluation; None keeps nothing.
        what: the protocol, in JSON values.
        prints: the hash of each policy and training seed; None where there is none, as for a policy that is
            no checkpoint: its blocks are kept for replay, and run again.
    """

    def __init__(
        self, folder: Path | None, *, what: Mapping[str, Any], prints: Mapping[str, Sequence[str | None]]
    ) -> None:
        self._folder, self._prints = folder, prints
        made_by = provenance()
        self._what = [what, made_by["versions"], made_by["code"]]
        if folder is not None:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)

    def run(
        self,
        jobs: Sequence[Job],
        worker: Callable[[], AbstractContextManager[Callable[[Job], Block]]],
        workers: int,
    ) -> Generator[tuple[Job, Block]]:
        """The result of each job, in order; a fresh one is on disk before it is given."""
        kept = {job: self._read(job) for job in jobs}
        missing = [job for job in jobs if kept[job] is None]
        with closing(run_in_order(worker, missing, workers=workers)) as fresh:
            for job in jobs:
                block = kept[job]
                if block is None:
                    block = next(fresh)
                    self._write(job, block)
                yield job, block

    def _hash(self, job: Job) -> str | None:
        policy = self._prints[job.name][job.replica]
        if policy is None:
            return None
        return hashlib.sha256(
            json.dumps([policy, self._what, job.seeds], sort_keys=True, default=str).encode()
        ).hexdigest()

    def _read(self, job: Job) -> Block | None:
        if self._folder is None or (wanted := self._hash(job)) is None:
            return None
        try:
            found, block = read_block(block_path(self._folder, job.name, job.replica, job.seeds[0]))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # absent or damaged: it is run again
        return block if found == wanted else None

    def _write(self, job: Job, block: Block) -> None:
        if self._folder is None:
            return
        path = block_path(self._folder, job.name, job.replica, job.seeds[0])
        records = [asdict(record) for record in block.records]
        with writing(self._folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            np.save(path.with_suffix(".npy"), np.concatenate(block.actions), allow_pickle=False)
        # last, and whole: where there are records there are actions
        write_whole(path, json.dumps({"of": self._hash(job), "records": records}, indent=1))


def write_whole(path: Path, text: str) -> None:
    """Write a file, or leave what was there before."""
    with writing(path.parent):
        write_text(path, text)


def block_path(folder: Path, name: str, replica: int, first_seed: int) -> Path:
    """Where the block that begins with `first_seed` is kept."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in name)[-60:]
    if safe != name:  # other names may look the same by now
        safe = f"{safe}-{zlib.crc32(name.encode()):08x}"
    return folder / "episodes" / f"{safe}-{replica}" / f"{first_seed}.json"


def read_block(path: Path) -> tuple[str | None, Block]:
    """The hash and the content of a kept block.

    Raises:
        OSError: it is not there.
        ValueError, KeyError, TypeError: it is damaged.
    """
    raw = json.loads(path.read_text())
    records = tuple(EpisodeRecord(**record) for record in raw["records"])
    flat = np.load(path.with_suffix(".npy"), allow_pickle=False)
    lengths = [record.length for record in records]
    if len(flat) != sum(lengths):
        raise ValueError(f"{path} and its actions do not belong together")
    return raw["of"], Block(records, tuple(np.split(flat, np.cumsum(lengths)[:-1])))
