"""A truncated normal is a density on its interval, and its quantiles are the inverse of its distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import truncnorm

from robopolicy.ops.truncated import TruncatedNormal

SIDES = st.sampled_from([(-1.0, 1.0), (0.0, 0.01), (-1.2, np.inf), (-np.inf, 3.0), (-np.inf, np.inf)])


def made(raw: float, std: float, low: float, high: float) -> TruncatedNormal:
    return TruncatedNormal.inside(
        torch.tensor([raw]), torch.tensor([std]), low=torch.tensor([low]), high=torch.tensor([high])
    )


@settings(max_examples=60, deadline=None)
@given(raw=st.floats(-4, 4), std=st.floats(0.02, 2), sides=SIDES, u=st.floats(0.01, 0.99))
def test_against_scipy(raw: float, std: float, sides: tuple[float, float], u: float) -> None:
    low, high = np.float32(sides)  # as the tensors have them
    normal = made(raw, std, low, high)
    mean = normal.mean.item()
    assert low <= mean <= high
    want = truncnorm((low - mean) / std, (high - mean) / std, loc=mean, scale=std)
    x = normal.quantile(torch.tensor([u])).item()
    assert low <= x <= high
    assert x == pytest.approx(want.ppf(u), rel=1e-3, abs=2e-3 * std)
    assert normal.log_prob(torch.tensor([x])).item() == pytest.approx(want.logpdf(x), rel=1e-3, abs=2e-3)


@pytest.mark.parametrize("sides", [(-1.0, 1.0), (-1.2, np.inf), (-np.inf, np.inf)])
@pytest.mark.parametrize("u", [0.0, 1 - 2**-24])
def test_ends_and_gradients_are_finite(sides: tuple[float, float], u: float) -> None:
    raw = torch.tensor([-30.0, 0.0, 30.0], requires_grad=True)
    std = torch.full((3,), 0.02, requires_grad=True)
    low, high = (torch.full((3,), side) for side in sides)
    normal = TruncatedNormal.inside(raw, std, low=low, high=high)
    x = normal.quantile(torch.full((3,), u))
    assert torch.isfinite(x).all()
    normal.log_prob(x.detach()).sum().backward()
    assert raw.grad is not None
    assert std.grad is not None
    assert torch.isfinite(raw.grad).all()
    assert torch.isfinite(std.grad).all()
