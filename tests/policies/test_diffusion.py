import functools

import pytest
import torch

from robopolicy.core.errors import ConfigError
from robopolicy.core.noise import EpisodeNoise
from robopolicy.nn.dit import DiT
from robopolicy.nn.mlp import ChunkResNet
from robopolicy.nn.unet1d import UNet1d
from robopolicy.ops import diffusion
from robopolicy.ops.chunks import clip
from robopolicy.policies.diffusion import DiffusionPolicy
from robopolicy.testing import tiny_batch, tiny_learner, tiny_observation, tiny_spec

SMALL = functools.partial(UNet1d, widths=(16, 32))
ROWS = 3


def make(**options) -> DiffusionPolicy:
    options = {"network": SMALL, "horizon": 8, "obs_steps": 2, "steps": 5, **options}
    spec = options.pop("spec", tiny_spec())
    policy = tiny_learner(lambda given: DiffusionPolicy(spec=given, **options), spec)
    assert isinstance(policy, DiffusionPolicy)
    return policy


def noise() -> EpisodeNoise:
    return EpisodeNoise(seeds=range(ROWS), ticks=[0] * ROWS)


@pytest.mark.parametrize("sampler", [diffusion.ddim, diffusion.dpm_solver])
def test_decode_is_what_sample_does_with_its_noise(sampler):
    policy = make(sampler=sampler)
    obs = tiny_observation(policy.spec, 2, rows=ROWS)
    chunks = policy.sample(obs, 4, noise=noise())
    start = noise().normal(ROWS, 4, *policy.noise_shape)
    assert torch.equal(policy.decode(policy.encode(obs), start), chunks)


def test_decode_is_deterministic_and_differentiable_though_ddpm_is_neither():
    policy = make(sampler=diffusion.ddpm)
    obs = tiny_observation(policy.spec, 2, rows=ROWS)
    start = torch.randn(ROWS, 1, *policy.noise_shape, requires_grad=True)
    ctx = policy.encode(obs)
    chunk = policy.decode(ctx, start)
    assert torch.equal(chunk, policy.decode(ctx, start))
    (grad,) = torch.autograd.grad(chunk.sum(), start)
    assert grad.abs().flatten(1).amax(1).min() > 0
    one, two = (policy.sample(obs, 1, noise=noise()) for _ in range(2))
    assert torch.equal(one, two)  # its fresh noise is keyed by row too


def test_all_candidates_share_one_encoding():
    policy = make(spec=tiny_spec(images=True, text=True))
    calls = []
    policy.averaged["encoder"].register_forward_hook(lambda *_: calls.append(1))
    policy.sample(tiny_observation(policy.spec, 2, rows=ROWS), 32)
    assert calls == [1]


def test_prefix_is_kept_and_the_rest_follows_it():
    policy = make()
    obs = tiny_observation(policy.spec, 2, rows=ROWS)
    prefix = clip(torch.rand(ROWS, 3, 3), policy.spec)
    free, held = policy.sample(obs, 2, noise=noise()), policy.sample(obs, 2, prefix=prefix, noise=noise())
    assert torch.equal(held[:, :, :3], prefix[:, None].expand(-1, 2, -1, -1))
    assert not torch.equal(held[:, :, 3:], free[:, :, 3:])


def test_averaged_weights_sample_and_follow():
    policy = make()
    obs = tiny_observation(policy.spec, 2, rows=ROWS)
    before = policy.sample(obs, noise=noise())
    with torch.no_grad():
        for parameter in policy.trained.parameters():
            parameter.add_(0.1)
    assert torch.equal(policy.sample(obs, noise=noise()), before)
    for step in range(200):
        policy.after("policy", step)
    for mine, other in zip(policy.averaged.parameters(), policy.trained.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("prediction", "network", "steps"),
    [
        (diffusion.Sample(), SMALL, 80),
        (diffusion.Residual(), functools.partial(ChunkResNet, width=64, blocks=2), 800),
    ],
)
def test_samples_of_what_was_learned_are_the_data(prediction, network, steps):
    policy = make(ema=0.9, prediction=prediction, network=network)
    optimiser = torch.optim.Adam(policy.trained.parameters(), lr=4e-3)
    batch = tiny_batch(policy)
    for step in range(steps):
        (loss,) = policy.losses(batch, step)
        optimiser.zero_grad()
        loss.value.backward()
        optimiser.step()
        policy.after("policy", step)
    scale = policy.normalizer.action_scale
    error = ((policy.sample(batch.obs)[:, 0] - batch.action) / scale).square().mean(-1)[~batch.is_pad].mean()
    spread = ((batch.action - batch.action.mean(0)) / scale).square().mean()
    assert error < 0.2 * spread


def test_it_takes_a_transformer_and_refuses_what_does_not_fit():
    policy = make(network=functools.partial(DiT, width=16, depth=1, heads=2), sampler=diffusion.dpm_solver)
    assert policy.sample(tiny_observation(policy.spec, 2, rows=ROWS), 2).shape == (ROWS, 2, 8, 3)
    with pytest.raises(ConfigError, match="horizon 7"):
        make(horizon=7)
    with pytest.raises(ConfigError, match="obs_steps"):
        make(obs_steps=0)
