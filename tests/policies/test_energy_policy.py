"""What is particular to the energy policy: it learns through a descent, and acts by one."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
import torch

from robopolicy.core.errors import ConfigError
from robopolicy.core.noise import EpisodeNoise
from robopolicy.nn.dit import DiT
from robopolicy.nn.energy import slope
from robopolicy.ops.chunks import clip
from robopolicy.policies.energy import EnergyPolicy
from robopolicy.testing import tiny_batch, tiny_learner, tiny_observation, tiny_spec
from robopolicy.testing.tiny import tiny_trainer

SMALL = partial(DiT, width=32, depth=1)


def made(train: int = 5, **options) -> EnergyPolicy:
    options = {"network": SMALL, "horizon": 6, **options}
    policy = tiny_learner(lambda spec: EnergyPolicy(spec=spec, **options), tiny_spec(), steps=train)
    assert isinstance(policy, EnergyPolicy)
    return policy.eval()


def noise() -> EpisodeNoise:
    return EpisodeNoise(seeds=[0, 1, 2], ticks=[0, 0, 0])


def test_the_loss_is_what_one_step_of_descent_leaves_over() -> None:
    """By the slope written out, `x - f - J' (x - f)`."""
    policy = made()
    batch, drawn = tiny_batch(policy), tiny_batch(policy).noise
    assert batch.is_pad.any()
    data = policy.normalizer.action(batch.action)[:, None]
    start, t = drawn.normal(*data.shape), drawn.uniform(*data.shape[:2])
    x = (1 - t[..., None, None]) * start + t[..., None, None] * data
    ctx = policy._encode(batch.obs, policy.trained)
    network = policy.trained["energy"].network
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        rebuilt, pull = torch.func.vjp(lambda x: network(x, torch.zeros_like(t), ctx), x)
        (back,) = pull(x - rebuilt)
    error = (rebuilt + back - data).square().mean(-1).squeeze(1)
    keep = (~batch.is_pad).float()
    wanted = ((error * keep).sum(1) / keep.sum(1)).mean().item()
    (loss,) = policy.losses(batch, 0)
    assert loss.value.item() == pytest.approx(wanted, rel=1e-5)


def test_the_energy_falls_along_the_descent_and_knows_what_was_shown() -> None:
    policy = made(train=0, ema=0.9)
    trainer, batch = tiny_trainer(policy, 150), tiny_batch(policy)
    for _ in range(150):
        trainer.step(batch)
    policy.eval()
    ctx = policy.encode(batch.obs).detach()
    x, energy = torch.randn(8, 16, 6, 3), policy.averaged["energy"]
    falling = []
    with torch.no_grad():
        for k in range(4):
            falling.append(energy(x, ctx))
            x = x - slope(energy, x, ctx) / (4 - k)
        falling.append(energy(x, ctx))
        shown = policy.energy(ctx, batch.action[:, None])
        swapped = policy.energy(ctx, batch.action.roll(1, dims=0)[:, None])
    for before, after in pairwise(falling):
        assert (after < before).float().mean() > 0.9
    assert shown.mean() < 0.5 * swapped.mean()


def test_a_sample_is_the_end_of_the_descent() -> None:
    policy = made(steps=3)
    obs = tiny_observation(policy.spec, 1)
    ctx, x = policy.encode(obs).detach(), noise().normal(3, 2, *policy.noise_shape)
    with torch.no_grad():
        for k in range(3):
            x = x - slope(policy.averaged["energy"], x, ctx) / (3 - k)
    drawn = policy.sample(obs, 2, noise=noise())
    torch.testing.assert_close(drawn, clip(policy.normalizer.unaction(x), policy.spec))
    other = [*policy.trained.parameters()][-1]
    with torch.no_grad():
        other += 1.0  # what is trained acts only once it is averaged
    assert torch.equal(policy.sample(obs, 2, noise=noise()), drawn)


def test_decoding_is_differentiable_and_sampling_leaves_nothing() -> None:
    policy = made()
    obs = tiny_observation(policy.spec, 1)
    start = torch.randn(3, 1, *policy.noise_shape, requires_grad=True)
    (gradient,) = torch.autograd.grad(policy.decode(policy.encode(obs).detach(), start).sum(), start)
    assert gradient.abs().flatten(1).amax(1).min() > 0
    calls = []
    policy.averaged["encoder"].register_forward_hook(lambda *_: calls.append(1))
    policy.sample(obs, 32)
    assert calls == [1]
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_a_prefix_is_kept_and_the_rest_follows_it() -> None:
    policy = made()
    obs = tiny_observation(policy.spec, 1)
    prefix = clip(torch.rand(3, 3, 3), policy.spec)
    free, held = policy.sample(obs, 2, noise=noise()), policy.sample(obs, 2, prefix=prefix, noise=noise())
    assert torch.equal(held[:, :, :3], prefix[:, None].expand(-1, 2, -1, -1))
    assert not torch.equal(held[:, :, 3:], free[:, :, 3:])


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="EnergyPolicy: steps is 0"):
        EnergyPolicy(spec=tiny_spec(), steps=0)
