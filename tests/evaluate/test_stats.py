from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from robopolicy.evaluate.compare import compare
from robopolicy.evaluate.stats import (
    SequentialMcNemar,
    clopper_pearson,
    holm,
    mcnemar,
    paired_bootstrap,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (8, 10, 44, 97),
        (16, 20, 56, 94),
        (40, 50, 66, 90),
        (80, 100, 71, 87),
        (160, 200, 74, 85),
        (400, 500, 76, 83),
        (10, 10, 69, 100),
        (20, 20, 83, 100),
        (50, 50, 93, 100),
        (100, 100, 96, 100),
    ],
)
def test_clopper_pearson_gives_the_known_percentages(successes, trials, low, high):
    assert [round(100 * x) for x in clopper_pearson(successes, trials)] == [low, high]


def test_clopper_pearson_covers_whatever_the_rate():
    for trials in (5, 20, 50):
        intervals = np.array([clopper_pearson(k, trials) for k in range(trials + 1)])
        for rate in np.linspace(0.01, 0.99, 50):
            inside = (intervals[:, 0] <= rate) & (rate <= intervals[:, 1])
            assert scipy_stats.binom.pmf(np.arange(trials + 1), trials, rate)[inside].sum() >= 0.95


def test_mcnemar_gives_the_worked_example():
    assert mcnemar(2, 10) == pytest.approx(0.0386, abs=1e-4)
    assert mcnemar(0, 0) == 1.0


@settings(max_examples=30, deadline=None)
@given(only_a=st.integers(0, 30), only_b=st.integers(0, 30))
def test_mcnemar_is_symmetric_and_a_probability(only_a, only_b):
    assert mcnemar(only_a, only_b) == mcnemar(only_b, only_a)
    assert 0 < mcnemar(only_a, only_b) <= 1


def test_holm_gives_the_worked_example_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_bootstrap_of_one_seed_agrees_with_the_paired_interval():
    rng = np.random.default_rng(0)
    a, b = rng.random(200) < 0.8, rng.random(200) < 0.6
    found = paired_bootstrap(a, b)
    difference = a.astype(float) - b
    error = difference.std() / np.sqrt(200)
    assert found.estimate == pytest.approx(difference.mean())
    assert found.low == pytest.approx(difference.mean() - 1.96 * error, abs=0.015)
    assert found.high == pytest.approx(difference.mean() + 1.96 * error, abs=0.015)
    assert paired_bootstrap(a, b) == found  # repeatable


def test_the_bootstrap_covers_when_states_and_training_seeds_both_vary():
    """Success of 5 seeds x 100 states whose chances depend on both."""
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        state = rng.normal(0, 1.5, (1, 100))
        luck = rng.normal(0, 0.3, (2, 5, 1))
        chance = 1 / (1 + np.exp(-(state + luck + 0.5)))
        a, b = rng.random((5, 100)) < chance[0], rng.random((5, 100)) < chance[1]
        interval = paired_bootstrap(a, b, resamples=500, seed=trial)
        covered += interval.low <= 0 <= interval.high  # both methods are equally good on average
    assert covered / 200 >= 0.93


def test_more_training_seeds_that_disagree_widen_the_interval():
    agree = np.tile(np.arange(100) < 60, (5, 1))
    disagree = np.stack([np.arange(100) < n for n in (20, 40, 60, 80, 100)])
    zero = np.zeros((5, 100))
    narrow, wide = paired_bootstrap(agree, zero), paired_bootstrap(disagree, zero)
    assert narrow.estimate == wide.estimate == pytest.approx(0.6)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_a_sequential_test_errs_rarely_however_often_it_looks_and_naive_peeking_does_not():
    rng = np.random.default_rng(2)
    test = SequentialMcNemar(looks=tuple(range(10, 101, 10)))
    naive = cache(mcnemar)
    runs, stopped, peeked = 1000, 0, 0
    for _ in range(runs):
        a, b = rng.random((2, 100)) < 0.6
        stopped += test.stops(a, b) is not None
        peeked += any(naive(int((a & ~b)[:n].sum()), int((b & ~a)[:n].sum())) < 0.05 for n in test.looks)
    assert stopped / runs <= 0.05 + 2 * (0.05 * 0.95 / runs) ** 0.5
    assert peeked / runs > 0.07


def test_a_sequential_test_stops_early_on_a_clear_difference_and_stays_stopped():
    rng = np.random.default_rng(3)
    test = SequentialMcNemar(looks=(50, 100, 200))
    a, b = rng.random(200) < 0.9, rng.random(200) < 0.4
    look = test.stops(a[:100], b[:100])
    assert look is not None
    assert look.episodes <= 100
    assert test.stops(a, b) == look
    assert test.stops(a[:49], b[:49]) is None
    assert test.stops(a, a) is None


@settings(max_examples=30, deadline=None)
@given(shares=st.lists(st.integers(0, 20), min_size=1, max_size=5))
def test_the_bounds_spend_what_is_allowed_and_no_more(shares):
    test = SequentialMcNemar(looks=tuple(20 * (i + 1) for i in range(len(shares))))
    for look in test.bounds(np.cumsum(shares).tolist()):
        assert look.spent <= test.allowed(look.episodes) + 1e-12
        assert look.difference >= 1
    assert test.allowed(test.looks[-1]) == pytest.approx(0.05)


def test_one_look_is_the_plain_test():
    test = SequentialMcNemar(looks=(50,))
    (look,) = test.bounds([12])
    assert mcnemar(1, 11) < 0.05
    assert mcnemar(3, 9) > 0.05
    assert look.difference == 8  # 2 : 10, p = .039


def test_a_comparison_of_seeds_is_no_surer_than_its_episodes_allow() -> None:
    """Resampling what is all alike gives an interval of no width."""
    one = np.ones((2, 3), bool)
    for a, b, low, high in ((one, ~one, 0.0, 1.0), (one, one, -1.0, 1.0)):
        interval = compare("a", "b", a, b).interval
        assert low < interval[0] < interval[1] - 0.3
        assert interval[1] <= high
        assert interval[0] <= (a.mean() - b.mean()) <= interval[1]
