"""The same row gets the same noise, whatever batch it travels in."""

import numpy as np
import pytest
import torch

from robopolicy.core.noise import EpisodeNoise, StepNoise


def test_parts_of_a_batch_draw_what_the_whole_would():
    whole = StepNoise(seed=3, step=7, total=8)
    parts = [StepNoise(seed=3, step=7, total=8, start=a, stop=b) for a, b in ((0, 3), (3, 8))]
    for draw in ("normal", "uniform", "normal"):
        together = getattr(whole, draw)(8, 4, 2)
        apart = torch.cat([getattr(p, draw)(p.stop - p.start, 4, 2) for p in parts])
        assert torch.equal(together, apart)


def test_steps_and_seeds_draw_differently():
    draws = [StepNoise(seed=s, step=t, total=4).normal(4, 3) for s, t in ((0, 0), (0, 1), (1, 0))]
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_an_episode_draws_alike_in_any_company():
    alone = EpisodeNoise(seeds=[11], ticks=[5]).normal(1, 2, 3)
    among = EpisodeNoise(seeds=[7, 11, 9], ticks=[0, 5, 5]).normal(3, 2, 3)
    assert torch.equal(alone[0], among[1])
    assert not torch.equal(among[1], among[2])


def test_an_episode_does_not_draw_what_its_initial_state_was_drawn_from():
    acting = EpisodeNoise(seeds=[11], ticks=[0]).normal(1, 8)[0]
    placing = np.random.default_rng(11).standard_normal(8, dtype=np.float32)
    assert not torch.isclose(acting, torch.from_numpy(placing)).any()


def test_asking_for_another_number_of_rows_is_refused():
    with pytest.raises(ValueError, match="3 rows"):
        StepNoise(seed=0, step=0, total=4).normal(3, 2)
    with pytest.raises(ValueError, match="1 episodes"):
        EpisodeNoise(seeds=[1], ticks=[0]).uniform(2, 2)
