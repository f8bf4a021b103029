"""Intervals and tests for success rates: exact where an exact answer exists.

Use: one policy, one task: `clopper_pearson`. Two checkpoints on the same initial states: `mcnemar` and
`tango`. Two methods with several training seeds each: `paired_bootstrap`. Many comparisons: `holm` on their
p-values. Looking before the end: `SequentialMcNemar`, its looks stated first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy import optimize, stats

from robopolicy.core.errors import ConfigError


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a success rate; covers at least `confidence` whatever the true rate.

    Clopper and Pearson, Biometrika 26 (1934).
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes in {trials} trials")
    tail = (1 - confidence) / 2
    low = stats.beta.ppf(tail, successes, trials - successes + 1) if successes else 0.0
    high = stats.beta.ppf(1 - tail, successes + 1, trials - successes) if successes < trials else 1.0
    return float(low), float(high)


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p of McNemar's test, of the states that only one of two checkpoints solves."""
    discordant = only_a + only_b
    return float(stats.binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0


def tango(only_a: int, only_b: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of the difference of two success rates on the same initial states.

    Tango, Statistics in Medicine 17 (1998): all differences d whose score statistic, with the nuisance
    parameter at its maximum likelihood given d, stays within the normal quantile. Unlike a bootstrap it has
    a width even where the two never differ.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)

    def score(d: float) -> float:
        linear = (2 * trials - only_a + only_b) * d - only_a - only_b
        root = max(linear**2 + 8 * trials * only_b * d * (1 - d), 0.0) ** 0.5
        nuisance = (root - linear) / (4 * trials)
        variance = trials * (2 * nuisance + d * (1 - d))
        return (only_a - only_b - trials * d) / max(variance, 1e-300) ** 0.5

    edge = 1 - 1e-12
    low = -1.0 if score(-edge) < z else _root(lambda d: score(d) - z, edge)
    high = 1.0 if score(edge) > -z else _root(lambda d: score(d) + z, edge)
    return low, high


def _root(function: Callable[[float], float], edge: float) -> float:
    return float(optimize.root_scalar(function, bracket=(-edge, edge), method="brentq").root)


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval."""

    estimate: float
    low: float
    high: float


def paired_bootstrap(
    a: np.ndarray, b: np.ndarray, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Mean of `a - b` over training seeds and initial states, both resampled.

    The initial states are common to all training seeds, so that rows and columns are drawn independently of
    each other (Owen, "The pigeonhole bootstrap", 2007, which is conservative). A single training seed says
    nothing about others: then only states are resampled, and the interval is of this checkpoint alone.

    Args:
        a, b: `[training seeds, initial states]`, results on the same states in the same order.
        confidence: of the percentile interval.
        resamples: number of draws.
        seed: of the draws.
    """
    difference = np.atleast_2d(np.asarray(a, np.float64) - np.asarray(b, np.float64))
    num_seeds, num_states = difference.shape
    rng = np.random.default_rng(seed)
    state_counts = rng.multinomial(num_states, np.full(num_states, 1 / num_states), size=resamples)
    seed_counts = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=resamples)
    means = ((seed_counts @ difference) * state_counts).sum(axis=1) / (num_seeds * num_states)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(difference.mean()), float(low), float(high))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number; below alpha means rejected with family-wise error alpha.

    Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    order = np.argsort(p_values, kind="stable")
    corrected, worst = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = worst
    return corrected


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look of a sequential test.

    Args:
        episodes: paired episodes seen.
        difference: of wins and losses that the test asks for, at least.
        spent: probability, given no difference, of having stopped by now.
    """

    episodes: int
    difference: int
    spent: float


@dataclass(frozen=True, kw_only=True)
class SequentialMcNemar:
    """A paired comparison that may stop early and still errs with probability alpha at most.

    The looks are fixed beforehand. At each, the share of alpha that O'Brien and Fleming's spending function
    `2 (1 - Phi(z / sqrt(t)))` allows for the share `t` of episodes seen (Lan and DeMets, Biometrika 1983) is
    spent exactly: without a difference, the states that only one side solves are fair coins, and the walk of
    wins minus losses, stopped at the earlier bounds, is summed in full. No normal approximation is made.

    Args:
        looks: numbers of paired episodes, ascending; the last is the most that will be run.
        alpha: of the whole test, two-sided.
    """

    looks: tuple[int, ...]
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not self.looks or any(a >= b for a, b in zip((0, *self.looks), self.looks, strict=False)):
            raise ConfigError(f"looks are {list(self.looks)}; they must be positive and ascend")

    def allowed(self, episodes: int) -> float:
        """The share of alpha that may be spent by this number of episodes."""
        normal = NormalDist()
        share = episodes / self.looks[-1]
        return 2 * (1 - normal.cdf(normal.inv_cdf(1 - self.alpha / 2) / share**0.5))

    def bounds(self, discordant: Sequence[int]) -> list[Look]:
        """The bound at each look so far, from the states that only one side solved, counted at each look."""
        found: list[Look] = []
        walk = np.ones(1)  # probability of each number of wins among walks that have not stopped
        seen, spent = 0, 0.0
        for episodes, total in zip(self.looks, discordant, strict=False):
            coins = np.arange(total - seen + 1)
            walk = np.convolve(walk, stats.binom.pmf(coins, total - seen, 0.5))
            seen = total
            difference = np.abs(2 * np.arange(total + 1) - total)
            bound = total + 1  # out of reach
            for candidate in sorted(set(difference.tolist()), reverse=True):
                if spent + walk[difference >= candidate].sum() > self.allowed(episodes):
                    break
                bound = candidate
            stopped = difference >= max(bound, 1)
            spent += float(walk[stopped].sum())
            walk = np.where(stopped, 0.0, walk)
            found.append(Look(episodes=episodes, difference=int(max(bound, 1)), spent=spent))
        return found

    def stops(self, a: Sequence[bool] | np.ndarray, b: Sequence[bool] | np.ndarray) -> Look | None:
        """The first look at which the results `a` and `b`, in order, already differ; None while they do not.

        The looks taken are those that the results reach; a result beyond the deciding look changes nothing.
        """
        wins = np.asarray(a, bool) & ~np.asarray(b, bool)
        losses = np.asarray(b, bool) & ~np.asarray(a, bool)
        reached = [episodes for episodes in self.looks if episodes <= len(wins)]
        counts = [(int(wins[:n].sum()), int(losses[:n].sum())) for n in reached]
        for look, (won, lost) in zip(self.bounds([w + v for w, v in counts]), counts, strict=True):
            if abs(won - lost) >= look.difference:
                return look
        return None
