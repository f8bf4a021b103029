"""Velocity fields on chunks: rows and candidates are independent, conditions matter, sizes are as said."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robopolicy.core.errors import ConfigError
from robopolicy.nn.dit import DiT
from robopolicy.nn.mlp import ChunkMLP, TimeFeatures

SIZES = {"action_size": 3, "horizon": 5, "context_size": 7}
NETWORKS = {
    "mlp": lambda: ChunkMLP(**SIZES, hidden=(32, 32)),
    "dit": lambda: DiT(**SIZES, width=32, depth=2),
}


def woken(name: str) -> nn.Module:
    """Final layers that start at zero would make everything equal."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return network.eval()


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_candidates_share_nothing_but_their_context(name: str) -> None:
    network = woken(name)
    x, t, ctx = torch.randn(4, 3, 5, 3), torch.rand(4, 3), torch.randn(4, 7)
    out = network(x, t, ctx)
    assert out.shape == x.shape
    for row, candidate in ((0, 0), (3, 2)):
        alone = network(x[row, candidate][None, None], t[row, candidate][None, None], ctx[row][None])
        torch.testing.assert_close(alone[0, 0], out[row, candidate], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_every_input_counts(name: str) -> None:
    network = woken(name)
    x, t, ctx = torch.randn(1, 1, 5, 3), torch.rand(1, 1), torch.randn(1, 7)
    out = network(x, t, ctx)
    for other in ((x, 1 - t, ctx), (x, t, -ctx), (x.flip(2), t, ctx)):
        assert not torch.allclose(network(*other), out, atol=1e-3)
    # the last step hears of the first
    moved = x.clone()
    moved[:, :, 0] += 1
    assert not torch.allclose(network(moved, t, ctx)[:, :, -1], out[:, :, -1], atol=1e-3)


def test_an_untrained_transformer_is_silent() -> None:
    assert NETWORKS["dit"]()(torch.randn(2, 1, 5, 3), torch.rand(2, 1), torch.randn(2, 7)).eq(0).all()


def test_the_sizes_that_are_promised() -> None:
    def millions(**options: int) -> float:
        network = DiT(action_size=6, horizon=16, context_size=30, **options)
        return sum(parameter.numel() for parameter in network.parameters()) / 1e6

    assert 1.8 < millions() < 2.2
    assert 6.8 < millions(width=256, depth=6) < 7.5
    with pytest.raises(ConfigError, match="divisor"):
        DiT(**SIZES, width=30, heads=4)


def test_time_features_tell_times_apart() -> None:
    features = TimeFeatures(width=32)(torch.linspace(0, 1, 101))
    distance = torch.cdist(features, features) + 10 * torch.eye(101)
    assert distance.min() > 0.1
