"""Paired comparison of policies that met the same initial states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from robopolicy.core.errors import ConfigError
from robopolicy.evaluate.stats import holm, mcnemar, paired_bootstrap, tango


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How two policies differ.

    Args:
        a, b: names.
        difference: success of `a` minus success of `b`.
        interval: 95 %, of the difference. One checkpoint each: Tango's score interval, which is about these
            checkpoints. Several training seeds each: the wider, at each end, of that of all episodes and the
            two-level bootstrap, which is about the methods; of few results alone the latter is too sure.
        only_a, only_b: episodes that only one of them solved.
        p_value: exact McNemar, of one checkpoint against one; None for several training seeds.
        p_holm: corrected for the number of comparisons in this evaluation.
        per_seed: the difference for each training seed.
    """

    a: str
    b: str
    difference: float
    interval: tuple[float, float]
    only_a: int
    only_b: int
    p_value: float | None
    p_holm: float | None
    per_seed: tuple[float, ...]


def check_pairs(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse policies that cannot be compared.

    Args:
        shapes: name to the numbers of training seeds and of initial states.

    Raises:
        ConfigError: these differ.
    """
    for (a, one), (b, other) in combinations(shapes.items(), 2):
        if one != other:
            raise ConfigError(
                f"'{a}' and '{b}' cannot be paired: they have {one[0]} and {other[0]} training seeds and "
                f"{one[1]} and {other[1]} episodes; give both the same, or do not compare"
            )


def compare(a: str, b: str, success_a: np.ndarray, success_b: np.ndarray) -> Comparison:
    """Compare two policies.

    Args:
        a, b: names.
        success_a, success_b: bool `[training seeds, initial states]`.

    Raises:
        ConfigError: see `check_pairs`.
    """
    check_pairs({a: success_a.shape, b: success_b.shape})
    only_a, only_b = int((success_a & ~success_b).sum()), int((success_b & ~success_a).sum())
    single = len(success_a) == 1
    per_seed = success_a.mean(axis=1) - success_b.mean(axis=1)
    interval = tango(only_a, only_b, success_a.size)
    if not single:
        resampled = paired_bootstrap(success_a, success_b)
        interval = (min(interval[0], resampled.low), max(interval[1], resampled.high))
    return Comparison(
        a=a,
        b=b,
        difference=float(per_seed.mean()),
        interval=interval,
        only_a=only_a,
        only_b=only_b,
        p_value=mcnemar(only_a, only_b) if single else None,
        p_holm=None,
        per_seed=tuple(per_seed.tolist()),
    )


def compare_all(success: Mapping[str, np.ndarray]) -> list[Comparison]:
    """Each with each, p-values corrected for their number."""
    found = [compare(a, b, success[a], success[b]) for a, b in combinations(success, 2)]
    tested = [comparison for comparison in found if comparison.p_value is not None]
    corrected = iter(holm([comparison.p_value for comparison in tested if comparison.p_value is not None]))
    return [c if c.p_value is None else replace(c, p_holm=next(corrected)) for c in found]
