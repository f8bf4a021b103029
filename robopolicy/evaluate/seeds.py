"""Which seed begins which episode: the initial states of collection, development and test never meet."""

from __future__ import annotations

from collections.abc import Sequence

from robopolicy.core.errors import UnknownNameError

SPAN = 1_000_000
FIRST = {"collect": 0, "dev": 1_000_000, "test": 2_000_000}


def seeds_of(split: str, count: int) -> range:
    """The first `count` seeds of a split: `dev` chooses settings, `test` states results."""
    if split not in FIRST:
        raise UnknownNameError("split", split, list(FIRST))
    if not 0 < count <= SPAN:
        raise ValueError(f"a split has 1 to {SPAN} episodes, {count} were asked for")
    return range(FIRST[split], FIRST[split] + count)


def blocks_of(seeds: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """Fixed blocks of at most `size` seeds, whoever will run them."""
    return [tuple(seeds[i : i + size]) for i in range(0, len(seeds), size)]
