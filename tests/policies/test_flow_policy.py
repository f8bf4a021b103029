"""What is particular to the flow policy: one encoding for all candidates, averaged weights, a shared ODE."""

from __future__ import annotations

import pytest
import torch

from robopolicy.core.errors import ConfigError, SpecMismatchError
from robopolicy.core.noise import EpisodeNoise
from robopolicy.ops import flow
from robopolicy.policies.flow import FlowPolicy
from robopolicy.testing import tiny_learner, tiny_observation, tiny_spec


def made(train: int = 5, **options) -> FlowPolicy:
    policy = tiny_learner(lambda spec: FlowPolicy(spec=spec, horizon=6, **options), tiny_spec(), steps=train)
    assert isinstance(policy, FlowPolicy)
    return policy.eval()


def test_candidates_share_one_encoding() -> None:
    policy = made()
    calls = []
    policy.trained["encoder"].register_forward_hook(lambda *_: calls.append(1))
    policy.sample(tiny_observation(policy.spec, 1), 32)
    assert len(calls) == 1


@pytest.mark.parametrize("solver", [flow.euler, flow.midpoint])
def test_a_sample_is_the_end_of_the_field_it_shows(solver: flow.Solver) -> None:
    """Base and guidance call one integrator on one field: bit-equal."""
    policy = made(solver=solver, steps=5)
    obs = tiny_observation(policy.spec, 1)
    ctx = policy.encode(obs)
    noise = EpisodeNoise(seeds=[0, 1, 2], ticks=[0, 0, 0])
    start = EpisodeNoise(seeds=[0, 1, 2], ticks=[0, 0, 0]).normal(3, 2, *policy.noise_shape)
    end = flow.integrate(
        lambda x, t: policy.velocity(ctx, x, t), start, policy.steps, solver=solver, rho=policy.rho
    )
    low, high = torch.tensor(policy.spec.action.low), torch.tensor(policy.spec.action.high)
    want = policy.normalizer.unaction(end).clamp(low, high)
    assert torch.equal(policy.sample(obs, 2, noise=noise), want)


def test_averaged_weights_sample_and_lag() -> None:
    policy = made(ema=0.9)
    trained, averaged = policy.trained["field"], policy.averaged
    assert averaged is not None
    pairs = list(zip(trained.parameters(), averaged["field"].parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in pairs)
    obs, seen = tiny_observation(policy.spec, 1), []
    averaged["field"].register_forward_hook(lambda *_: seen.append(1))
    policy.sample(obs)
    assert len(seen) == policy.steps


def test_a_longer_prefix_than_the_chunk_is_refused() -> None:
    policy = made(train=0)
    with pytest.raises(SpecMismatchError, match="at most 6"):
        policy.sample(tiny_observation(policy.spec, 1), prefix=torch.zeros(3, 7, 3))


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="horizon is 0"):
        FlowPolicy(spec=tiny_spec(), horizon=0)
