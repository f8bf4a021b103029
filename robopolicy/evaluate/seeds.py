"""Which seeds begin the episodes of an evaluation, and in which blocks and what order they are run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from robopolicy.core.errors import ConfigError, UnknownNameError
from robopolicy.core.suites import SPLITS
from robopolicy.evaluate.blocks import Job


def seeds_of(split: str, count: int) -> range:
    """The first `count` seeds of a split: `dev` chooses settings, `test` states results.

    Raises:
        UnknownNameError: no such split; the states of collection are none, since policies were trained on
            them.
        ConfigError: fewer than one episode, or more than a split has.
    """
    if split not in SPLITS:
        hint = " (dev chooses settings, test states results; no data are collected from either)"
        raise UnknownNameError("split", split, list(SPLITS), hint)
    if not 0 < count <= len(SPLITS[split]):
        raise ConfigError(f"episodes is {count}; a split has 1 to {len(SPLITS[split])}")
    return SPLITS[split][:count]


def blocks_of(seeds: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """Fixed blocks of at most `size` seeds, whoever will run them."""
    return [tuple(seeds[i : i + size]) for i in range(0, len(seeds), size)]


def stages_of(blocks: Sequence[tuple[int, ...]], looks: Sequence[int]) -> Iterator[list[tuple[int, ...]]]:
    """The blocks between one look and the next; all at once without looks.

    Raises:
        ConfigError: a look falls within a block.
    """
    ends = np.cumsum([len(block) for block in blocks]).tolist()
    if strange := [look for look in looks if look not in ends]:
        raise ConfigError(f"looks {strange} are not at the end of a block; the blocks end at {ends}")
    begin = 0
    for look in looks or ends[-1:]:
        end = ends.index(look) + 1
        yield list(blocks[begin:end])
        begin = end


def jobs_of(blocks: Sequence[tuple[int, ...]], replicas: Mapping[str, Sequence[object]]) -> list[Job]:
    """Every block of every policy and training seed; policies take turns, so that no drift of the machine
    favours one.
    """
    return [
        Job(name, replica, seeds)
        for seeds in blocks
        for name, sources in replicas.items()
        for replica in range(len(sources))
    ]
