"""The slope is that of the energy, can be learned from, and leaves nothing behind."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from robopolicy.nn.dit import DiT
from robopolicy.nn.energy import ChunkEnergy, slope
from robopolicy.nn.mlp import ChunkMLP

SIZES = {"action_size": 2, "horizon": 3, "context_size": 4}
NETWORKS = {
    "mlp": partial(ChunkMLP, **SIZES, hidden=(8, 8)),
    "dit": partial(DiT, **SIZES, width=8, depth=1, heads=2),
}


def woken(name: str) -> ChunkEnergy:
    torch.manual_seed(0)
    energy = ChunkEnergy(NETWORKS[name]().double())
    with torch.no_grad():
        for parameter in energy.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return energy


def points() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, 3, 3, 2).double(), torch.randn(2, 4).double()


def near(
    energy: nn.Module, way: list[torch.Tensor], size: float, x: torch.Tensor, ctx: torch.Tensor
) -> float:
    """A loss of the slope, with the parameters moved `size` along `way`."""
    with torch.no_grad():
        for parameter, direction in zip(energy.parameters(), way, strict=True):
            parameter += size * direction
        loss = slope(energy, x, ctx).square().mean().item()
        for parameter, direction in zip(energy.parameters(), way, strict=True):
            parameter -= size * direction
    return loss


@pytest.mark.parametrize("name", NETWORKS)
def test_slope_and_its_own_derivative_are_those_of_differences(name: str) -> None:
    energy, (x, ctx) = woken(name), points()
    way = torch.randn_like(x)
    with torch.no_grad():
        difference = (energy(x + 1e-5 * way, ctx) - energy(x - 1e-5 * way, ctx)) / 2e-5
        found = slope(energy, x, ctx)
    torch.testing.assert_close((found * way).sum((-2, -1)), difference, rtol=1e-6, atol=1e-6)

    gradients = torch.autograd.grad(slope(energy, x, ctx).square().mean(), list(energy.parameters()))
    ways = [torch.randn_like(parameter) for parameter in energy.parameters()]
    wanted = (near(energy, ways, 1e-5, x, ctx) - near(energy, ways, -1e-5, x, ctx)) / 2e-5
    along = sum((gradient * way).sum() for gradient, way in zip(gradients, ways, strict=True))
    assert float(along) == pytest.approx(wanted, rel=1e-5)


def test_it_leaves_no_gradient_and_no_graph() -> None:
    energy, (x, ctx) = woken("dit"), points()
    with torch.no_grad():
        assert not slope(energy, x, ctx).requires_grad
        slope(energy, x.requires_grad_(), ctx)
    assert x.grad is None
    assert all(parameter.grad is None for parameter in energy.parameters())
    assert (energy(x, ctx) >= 0).all()
