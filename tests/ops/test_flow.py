"""Paths, solvers and projections of rectified flow."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robopolicy.ops import flow

SHAPE = (2, 3, 5, 4)  # B N H A


@pytest.fixture
def ends() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)


@settings(max_examples=20, deadline=None)
@given(t=st.floats(0, 1, width=32), steps=st.integers(1, 12), rho=st.sampled_from([1.0, 2.5]))
def test_the_straight_path_is_its_own_solution(t: float, steps: int, rho: float) -> None:
    noise, data = torch.randn(SHAPE), torch.randn(SHAPE)
    time = torch.full(SHAPE[:2], t)
    x = flow.interpolate(noise, data, time)
    velocity = flow.target(noise, data)
    torch.testing.assert_close(flow.clean(x, velocity, time), data, atol=1e-5, rtol=1e-5)
    for solver in (flow.euler, flow.midpoint):
        end = flow.integrate(lambda x, t: velocity, noise, steps, solver=solver, rho=rho)
        torch.testing.assert_close(end, data, atol=1e-5, rtol=1e-5)


def test_time_0_is_noise_and_time_1_is_data(ends) -> None:
    noise, data = ends
    assert torch.equal(flow.interpolate(noise, data, torch.zeros(SHAPE[:2])), noise)
    torch.testing.assert_close(flow.interpolate(noise, data, torch.ones(SHAPE[:2])), data)


@pytest.mark.parametrize("rho", [1.0, 2.5])
@pytest.mark.parametrize(("solver", "order"), [(flow.euler, 1), (flow.midpoint, 2)])
def test_solvers_have_their_order(solver: flow.Solver, order: int, rho: float) -> None:
    """Halving the step of `dx/dt = t x` divides the error by 2^order."""
    start = torch.ones(SHAPE, dtype=torch.float64)
    exact = torch.tensor(0.5, dtype=torch.float64).exp()

    def error(steps: int) -> float:
        end = flow.integrate(lambda x, t: x * flow.along(t, x), start, steps, solver=solver, rho=rho)
        return (end - exact).abs().max().item()

    assert error(32) / error(64) == pytest.approx(2**order, rel=0.15)


def test_later_steps_are_shorter_and_end_at_the_data() -> None:
    """The share of noise at step i of K is (1 - i / K)^rho."""
    seen = []
    end = flow.integrate(lambda x, t: seen.append(t) or torch.ones_like(x), torch.zeros(SHAPE), 4, rho=3.0)
    shares = torch.stack([1 - t[0, 0] for t in seen])
    torch.testing.assert_close(shares, torch.tensor([1, 0.75**3, 0.5**3, 0.25**3]))
    torch.testing.assert_close(end, torch.ones(SHAPE))


def test_guidance_of_weight_0_gives_the_bits_of_the_base(ends) -> None:
    noise, goal = ends

    def base(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x) - x

    guided = flow.integrate(lambda x, t: base(x, t) + 0.0 * (goal - x), noise, 7)
    assert torch.equal(guided, flow.integrate(base, noise, 7))


def test_a_held_prefix_is_reached_and_seen_on_the_way(ends) -> None:
    noise, data = ends
    prefix = data[:, 0, :2]
    seen = []

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append((x[:, :, :2], t))
        return -x

    end = flow.integrate(velocity, noise, 4, project=flow.hold_prefix(noise, prefix))
    torch.testing.assert_close(end[:, :, :2], prefix[:, None].expand(2, 3, 2, 4))
    free = flow.integrate(lambda x, t: -x, noise, 4)
    assert torch.equal(end[:, :, 2:], free[:, :, 2:])  # a field that does not mix steps leaves the rest alone
    for x, t in seen:
        torch.testing.assert_close(x, flow.interpolate(noise[:, :, :2], prefix[:, None].expand_as(x), t))


@pytest.mark.parametrize("std", [0.3, 0.5, 1.0])
def test_preconditioning_is_the_best_linear_guess_for_gaussian_data(std):
    draw = torch.Generator().manual_seed(0)
    data, noise = std * torch.randn(200_000, generator=draw), torch.randn(200_000, generator=draw)
    for t in (0.0, 0.3, 0.7, 1.0):
        x, v = (1 - t) * noise + t * data, data - noise
        skip, out, inner = flow.precondition(torch.tensor(t), std)
        rest = v - skip * x
        torch.testing.assert_close((rest * x).mean(), torch.tensor(0.0), atol=0.01, rtol=0)
        torch.testing.assert_close(rest.std(), out, atol=0.01, rtol=0)
        torch.testing.assert_close((inner * x).std(), torch.tensor(1.0), atol=0.01, rtol=0)
