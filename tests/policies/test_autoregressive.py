"""The likelihood is what is drawn, token by token, and what is committed is read."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, norm

from robopolicy.core.errors import ConfigError
from robopolicy.core.noise import EpisodeNoise
from robopolicy.ops import bins
from robopolicy.policies.autoregressive import AutoregressivePolicy
from robopolicy.testing import tiny_batch, tiny_learner, tiny_observation, tiny_spec


def made(**options) -> AutoregressivePolicy:
    options = {"horizon": 4, "width": 16, "depth": 2, "heads": 2, "num_bins": 12, **options}
    policy = tiny_learner(lambda spec: AutoregressivePolicy(spec=spec, **options), tiny_spec())
    assert isinstance(policy, AutoregressivePolicy)
    with torch.no_grad():  # uneven, and no token without its influence, at once
        for name, parameter in policy.network.named_parameters():
            parameter += (0.05 if name == "head" else 0.3) * torch.randn_like(parameter)
    return policy.eval()


@pytest.mark.parametrize("binning", [bins.uniform, bins.quantile])
def test_the_likelihood_has_mass_one_and_is_that_of_the_samples(binning: bins.Binning) -> None:
    policy = made(horizon=1, num_bins=3, binning=binning)
    obs = tiny_observation(policy.spec, 1, rows=1)
    edges, scale = policy.edges, policy.normalizer.action_scale
    every = torch.tensor(list(itertools.product(range(3), repeat=3))).view(1, 27, 1, 3)
    chunks = policy.normalizer.unaction(bins.centres_of(every, edges))
    volumes = (bins.widths_of(every, edges) * scale).prod(-1).flatten()
    with torch.no_grad():
        mass = policy.log_prob(obs, chunks)[0].double().exp() * volumes
    assert mass.sum().item() == pytest.approx(1, abs=1e-4)
    assert mass.max() > 3 * mass.min()
    drawn = policy.sample(obs, 4000, noise=EpisodeNoise(seeds=[0], ticks=[0]))
    tokens = bins.tokens_of(policy.normalizer.action(drawn), edges).view(-1, 3)
    counts = torch.bincount(tokens @ torch.tensor([9, 3, 1]), minlength=27)
    assert chisquare(counts.numpy(), (4000 * mass / mass.sum()).numpy()).pvalue > 1e-3
    outside = chunks[:, :1].clone()
    outside[..., 0] = 100.0
    assert policy.log_prob(obs, outside).item() == -np.inf


def test_the_loss_is_the_cross_entropy_of_blurred_bins() -> None:
    policy = made(horizon=6, jitter=0.0, spread=1.5)
    batch = tiny_batch(policy)
    assert batch.is_pad.any()
    (loss,) = policy.losses(batch, 0)
    action, edges = policy.normalizer.action(batch.action).numpy(), policy.edges.numpy()
    tokens = np.stack([np.digitize(action[..., i], edges[i, 1:-1]) for i in range(3)], axis=-1)
    logits = policy.network(policy.encode(batch.obs), torch.from_numpy(tokens)).detach().double().numpy()
    surprise = np.log(np.exp(logits).sum(-1, keepdims=True)) - logits
    width = np.diff(edges)[np.arange(3), tokens]
    share = np.diff(norm.cdf((edges - action[..., None]) / (1.5 * width[..., None])))
    error = (share / share.sum(-1, keepdims=True) * surprise).sum(-1).mean(-1)
    keep = ~batch.is_pad.numpy()
    assert loss.value.item() == pytest.approx(((error * keep).sum(1) / keep.sum(1)).mean(), rel=1e-4)


def test_what_is_beyond_the_end_is_not_learned() -> None:
    policy = made(horizon=6)
    gradients = []
    for filler in (0.0, 9.0):
        batch = tiny_batch(policy)
        action = torch.where(batch.is_pad[..., None], filler, batch.action)
        (loss,) = policy.losses(replace(batch, action=action), 0)
        gradients.append(torch.autograd.grad(loss.value, policy.groups()["policy"]))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_committed_actions_are_read() -> None:
    """With the same noise a chunk goes on from its own beginning as it did; from another, it does not."""
    policy = made()
    obs = tiny_observation(policy.spec, 1)

    def draw(prefix: torch.Tensor | None) -> torch.Tensor:
        return policy.sample(obs, 8, prefix=prefix, noise=EpisodeNoise(seeds=[0, 1, 2], ticks=[0, 0, 0]))

    free = draw(None)
    own, other = free[:, 0, :2], free[:, 1, :2]
    assert torch.equal(draw(own)[:, 0], free[:, 0])
    held = draw(other)
    assert torch.equal(held[:, :, :2], other[:, None].expand(-1, 8, -1, -1))
    assert not torch.equal(held[:, 0, 2:], free[:, 0, 2:])
    assert torch.equal(draw(free[:, 0])[:, 3], free[:, 0])


def test_cold_draws_are_the_likeliest() -> None:
    policy = made(top_p=1e-6)
    obs = tiny_observation(policy.spec, 1)
    cold = policy.sample(obs, 2)
    assert torch.equal(cold[:, 0], cold[:, 1])
    policy.top_p = 1.0
    tokens, drawn = (
        bins.tokens_of(policy.normalizer.action(chunk), policy.edges)[:, :, 0, 0]
        for chunk in (cold, policy.sample(obs, 1000, noise=EpisodeNoise(seeds=[0, 1, 2], ticks=[0, 0, 0])))
    )
    assert torch.equal(tokens[:, 0], drawn.mode(dim=1).values)


def test_candidates_share_one_encoding() -> None:
    policy, calls = made(), []
    policy.encoder.register_forward_hook(lambda *_: calls.append(1))
    obs = tiny_observation(policy.spec, 1)
    chunks = policy.sample(obs, 32)
    assert calls == [1]
    policy.log_prob(obs, chunks)
    assert calls == [1, 1]


def test_bins_travel_with_the_weights() -> None:
    policy = made(binning=bins.quantile)
    fresh = AutoregressivePolicy(
        spec=policy.spec, horizon=4, width=16, depth=2, heads=2, num_bins=12, binning=bins.quantile
    )
    assert not torch.equal(fresh.edges, policy.edges)
    fresh.load_state_dict(policy.state_dict())
    assert torch.equal(fresh.edges, policy.edges)


@pytest.mark.parametrize("wrong", [{"num_bins": 1}, {"top_p": 0.0}, {"temperature": 0.0}, {"jitter": -1.0}])
def test_settings_that_cannot_be_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=f"AutoregressivePolicy: {next(iter(wrong))} is"):
        AutoregressivePolicy(spec=tiny_spec(), **wrong)
