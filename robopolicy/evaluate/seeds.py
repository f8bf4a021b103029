"""Which seed begins which episode, and in which blocks the episodes are run.

The initial states of collection, development and test never meet: their seeds come from different ranges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from robopolicy.core.errors import ConfigError, UnknownNameError

SPAN = 1_000_000
FIRST = {"collect": 0, "dev": 1_000_000, "test": 2_000_000}


def seeds_of(split: str, count: int) -> range:
    """The first `count` seeds of a split: `dev` chooses settings, `test` states results.

    Raises:
        UnknownNameError: no such split.
        ConfigError: fewer than one episode, or more than a split has.
    """
    if split not in FIRST:
        raise UnknownNameError("split", split, list(FIRST))
    if not 0 < count <= SPAN:
        raise ConfigError(f"episodes is {count}; a split has 1 to {SPAN}")
    return range(FIRST[split], FIRST[split] + count)


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
