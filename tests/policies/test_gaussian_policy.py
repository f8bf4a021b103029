"""The Gaussian policy's likelihood is a density in physical units, and its samples follow it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from robopolicy.core.errors import ConfigError
from robopolicy.core.noise import EpisodeNoise
from robopolicy.core.spec import Vector
from robopolicy.policies.gaussian import GaussianPolicy
from robopolicy.testing import tiny_learner, tiny_observation, tiny_spec


@pytest.mark.parametrize("bounds", [(-0.2, 0.3), (0.0, np.inf)])
def test_the_density_has_mass_one_and_is_that_of_the_samples(bounds: tuple[float, float]) -> None:
    spec = replace(tiny_spec(), action=Vector.of({"turn": (*bounds, "rad")}))
    policy = tiny_learner(lambda spec: GaussianPolicy(spec=spec, horizon=1), spec, steps=20).eval()
    assert isinstance(policy, GaussianPolicy)
    obs = tiny_observation(spec, 1, rows=1)
    grid = np.linspace(bounds[0], min(bounds[1], 8.0), 8001)
    chunks = torch.from_numpy(grid).float().view(1, -1, 1, 1)
    density = policy.log_prob(obs, chunks).exp()[0].detach().double().numpy()
    cumulative = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
    assert cumulative[-1] == pytest.approx(1.0, abs=2e-3)
    drawn = policy.sample(obs, 4000, noise=EpisodeNoise(seeds=[0], ticks=[0])).flatten().numpy()
    assert kstest(drawn, lambda x: np.interp(x, grid, cumulative)).pvalue > 1e-3
    assert policy.log_prob(obs, torch.full((1, 1, 1, 1), bounds[0] - 0.01)).item() == -np.inf


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="std_range"):
        GaussianPolicy(spec=tiny_spec(), std_range=(2.0, 0.1))
