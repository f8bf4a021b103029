import pytest
import torch

from robopolicy.core.errors import ConfigError
from robopolicy.core.noise import EpisodeNoise
from robopolicy.ops.chunks import clip
from robopolicy.policies.act import ACTPolicy
from robopolicy.testing import tiny_batch, tiny_learner, tiny_observation, tiny_spec

ROWS = 3


def make(**options) -> ACTPolicy:
    small = {"width": 32, "heads": 4, "feedforward": 48, "encoder_layers": 2, "latent": 4}
    options = {**small, "horizon": 6, "obs_steps": 2, "dropout": 0.0, **options}
    spec = options.pop("spec", tiny_spec())
    policy = tiny_learner(lambda given: ACTPolicy(spec=given, **options), spec)
    assert isinstance(policy, ACTPolicy)
    return policy


def noise() -> EpisodeNoise:
    return EpisodeNoise(seeds=range(ROWS), ticks=[0] * ROWS)


def test_the_first_candidate_is_the_priors_mean_and_the_others_are_drawn():
    policy = make()
    obs = tiny_observation(policy.spec, 2, rows=ROWS)
    ctx = policy.encode(obs)
    chunks = policy.sample(obs, 4, noise=noise())
    assert chunks.shape == (ROWS, 4, 6, 3)
    mean = policy.decode(ctx, torch.zeros(ROWS, 1, 4))
    torch.testing.assert_close(chunks[:, :1], mean)
    torch.testing.assert_close(policy.sample(obs), mean)
    drawn = policy.decode(ctx, noise().normal(ROWS, 3, 4))
    torch.testing.assert_close(chunks[:, 1:], drawn)
    assert (chunks[:, 1] - chunks[:, 2]).abs().max() > 1e-4


def test_all_candidates_share_one_encoding():
    policy = make(spec=tiny_spec(images=True, text=True))
    frames = []
    policy.images[0].register_forward_hook(lambda module, inputs, output: frames.append(inputs[0].shape[:3]))
    obs = tiny_observation(policy.spec, 2, rows=ROWS)
    chunks = policy.sample(obs, 32)
    assert frames == [(ROWS, 1, 2)]
    assert chunks.shape[1] == 32


@pytest.mark.parametrize("part", ["images", "text"])
def test_it_sees_images_and_text(part):
    policy = make(spec=tiny_spec(images=True, text=True), patch=2)
    obs = tiny_observation(policy.spec, 2, rows=2)
    swapped = obs.rows(torch.tensor([1, 0]))
    changed = {"state": obs.state, "images": obs.images, "text": obs.text, part: getattr(swapped, part)}
    other = type(obs)(**changed)
    assert (policy.sample(other) - policy.sample(obs)).abs().max() > 1e-5


def test_padding_is_not_seen():
    """What stands beyond an episode's end changes neither the loss nor a gradient."""
    policy = make()
    batch = tiny_batch(policy)
    assert batch.is_pad.any()
    gradients = []
    for action in (batch.action, torch.where(batch.is_pad[..., None], 9.0, batch.action)):
        given = tiny_batch(policy)
        (loss,) = policy.losses(type(given)(**{**vars(given), "action": action}), 0)
        gradients.append(torch.autograd.grad(loss.value, policy.groups()["policy"]))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_the_latent_tells_chunks_apart():
    """Where one observation has two answers, the latent learns to choose between them."""
    policy = make(kl_weight=0.01)
    batch = tiny_batch(policy)
    obs = batch.obs.rows(torch.zeros(8, dtype=torch.long))
    side = torch.where(torch.arange(8) % 2 == 0, 1.0, -1.0)[:, None, None]
    action = policy.normalizer.unaction((0.5 * side).expand(8, 6, 3))
    optimiser = torch.optim.Adam(policy.parameters(), lr=1e-3)
    given = {**vars(batch), "obs": obs, "action": action, "is_pad": torch.zeros(8, 6, dtype=torch.bool)}
    for step in range(150):
        (loss,) = policy.losses(type(batch)(**given), step)
        optimiser.zero_grad()
        loss.value.backward()
        optimiser.step()
    assert loss.metrics["l1"] < 0.1  # no single answer does better than 0.5


def test_prefix_is_kept_and_what_does_not_fit_is_refused():
    policy = make()
    prefix = clip(torch.rand(ROWS, 2, 3), policy.spec)
    held = policy.sample(tiny_observation(policy.spec, 2, rows=ROWS), 2, prefix=prefix)
    assert torch.equal(held[:, :, :2], prefix[:, None].expand(-1, 2, -1, -1))
    with pytest.raises(ConfigError, match="decoder_layers"):
        make(decoder_layers=0)
    with pytest.raises(ConfigError, match="2 x 2 map"):
        make(spec=tiny_spec(images=True), patch=3)


def test_dropout_is_for_training():
    policy = make(dropout=0.1)
    assert policy.couples_batch
    assert not make().couples_batch
    obs = tiny_observation(policy.spec, 2, rows=ROWS)
    assert not torch.equal(policy.train().sample(obs), policy.sample(obs))
    assert torch.equal(policy.eval().sample(obs), policy.sample(obs))
