"""What every policy promises, be it a learner, a steerer or a client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from robopolicy.core.errors import UserError
from robopolicy.core.learner import Learner
from robopolicy.core.noise import EpisodeNoise
from robopolicy.core.protocols import ChunkPolicy, Denoiser, Likelihood, NoiseDecoder
from robopolicy.testing.tiny import tiny_observation


def samples_are_well_formed(policy: ChunkPolicy) -> None:
    """`[B N H A]` float32, finite, inside the bounds, for one candidate and for four; no gradients."""
    obs = tiny_observation(policy.spec, policy.obs_steps)
    parameters = list(policy.parameters()) if isinstance(policy, Learner) else []
    clear = [parameter for parameter in parameters if parameter.grad is None]
    low, high = (torch.tensor(bound) for bound in (policy.spec.action.low, policy.spec.action.high))
    for n in (1, 4):
        chunk = policy.sample(obs, n)
        wanted = (len(obs.state), n, policy.horizon, len(policy.spec.action))
        assert tuple(chunk.shape) == wanted, f"sample(n={n}) has shape {tuple(chunk.shape)}, not {wanted}"
        assert chunk.dtype == torch.float32, f"a sample is {chunk.dtype}, not float32"
        assert torch.isfinite(chunk).all(), "a sample is not finite"
        assert ((chunk >= low) & (chunk <= high)).all(), "a sample leaves the action's bounds"
        assert not chunk.requires_grad, "sample() keeps a graph"
    assert all(parameter.grad is None for parameter in clear), "sample() left gradients on parameters"


def samples_follow_their_noise(policy: ChunkPolicy) -> None:
    """A row's chunk follows from its observation and its noise, whoever else is in the batch."""
    together = draw(policy)
    assert torch.equal(together, draw(policy)), "the same noise gave two samples"
    alone = torch.cat([draw(policy, slice(i, i + 1)) for i in range(len(together))])
    # another batch size is another order of summation, no more
    assert torch.allclose(alone, together, rtol=1e-3, atol=1e-3), "a sample depends on the rows beside it"


def prefix_is_kept_or_refused(policy: ChunkPolicy) -> None:
    """Committed actions stand at the start of every candidate, or a message says that they cannot."""
    obs = tiny_observation(policy.spec, policy.obs_steps)
    prefix = policy.sample(obs, 1)[:, 0, : max(1, policy.horizon // 2)]
    try:
        chunk = policy.sample(obs, 2, prefix=prefix)
    except UserError:
        return
    kept = chunk[:, :, : prefix.shape[1]]
    assert torch.equal(kept, prefix[:, None].expand_as(kept)), "a committed prefix was changed"
    assert tuple(chunk.shape[:3]) == (len(obs.state), 2, policy.horizon)
    assert torch.isfinite(chunk).all(), "a sample after a prefix is not finite"


def foreign_observations_are_refused(policy: ChunkPolicy) -> None:
    """Another state, another history, a missing camera or instruction: a `UserError` that names it."""
    obs = tiny_observation(policy.spec, policy.obs_steps)
    wrong = {
        "state": replace(obs, state=torch.cat([obs.state, obs.state[..., :1]], dim=-1)),
        "steps": obs.map(lambda array: torch.cat([array, array], dim=1)),
        **({"camera": replace(obs, images={})} if policy.spec.images else {}),
        **({"instruction": replace(obs, text=None)} if policy.spec.text else {}),
    }
    for named, foreign in wrong.items():
        refusal = ""
        try:
            policy.sample(foreign)
        except UserError as error:
            refusal = str(error)
        assert refusal, f"an observation with a wrong {named} is accepted"
        assert named in refusal, f"the refusal of a wrong {named} does not name it: {refusal}"


def capabilities_are_real(policy: ChunkPolicy) -> None:
    """Whatever further protocol the policy meets by name, it meets in fact."""
    obs = tiny_observation(policy.spec, policy.obs_steps)
    rows, n, size = len(obs.state), 2, len(policy.spec.action)
    wanted = (rows, n, policy.horizon, size)
    if isinstance(policy, NoiseDecoder):
        noise = torch.randn(rows, n, *policy.noise_shape)
        ctx = policy.encode(obs)
        chunk = policy.decode(ctx, noise)
        assert tuple(chunk.shape) == wanted, f"decode() has shape {tuple(chunk.shape)}, not {wanted}"
        assert torch.equal(chunk, policy.decode(ctx, noise)), "decode() is not deterministic"
        assert not torch.equal(chunk, policy.decode(ctx, -noise)), "decode() ignores its noise"
    if isinstance(policy, Denoiser):
        ctx = policy.encode(obs)
        x = (1.8 * torch.rand(wanted) - 0.9).requires_grad_()  # where normalised actions are
        t = torch.rand(rows, n)
        assert tuple(policy.velocity(ctx, x, t).shape) == wanted, "velocity() has another shape than x"
        clean = policy.clean(ctx, x, t)
        assert tuple(clean.shape) == wanted, "clean() has another shape than x"
        (gradient,) = torch.autograd.grad(clean.sum(), x)
        assert torch.isfinite(gradient).all(), "clean() has no finite gradient"
        assert gradient.abs().sum() > 0, "clean() does not depend on x"
        if isinstance(policy, Learner):  # time 1 is data: there is (almost) no noise left to remove
            final, data = policy.clean(ctx, x, torch.ones(rows, n)), policy.normalizer.unaction(x)
            near = (final - data).abs().mean() < 0.1 * data.std()
            assert near, "clean() at time 1 is far from x; is time reversed?"
    if isinstance(policy, Likelihood):
        chunk = policy.sample(obs, n)
        density = policy.log_prob(obs, chunk)
        assert tuple(density.shape) == (rows, n), f"log_prob() has shape {tuple(density.shape)}"
        assert torch.isfinite(density).all(), "log_prob() of the policy's own samples is not finite"
        turned = policy.log_prob(obs, chunk.flip(1)).flip(1)
        alone = torch.allclose(turned, density, rtol=1e-3, atol=1e-3)
        assert alone, "log_prob() of a candidate depends on the candidates beside it"


POLICY_CHECKS: tuple[Callable[[ChunkPolicy], None], ...] = (
    samples_are_well_formed,
    samples_follow_their_noise,
    prefix_is_kept_or_refused,
    foreign_observations_are_refused,
    capabilities_are_real,
)


def check_policy(policy: ChunkPolicy) -> None:
    """Try everything a policy promises, on observations of its own spec."""
    for check in POLICY_CHECKS:
        check(policy)


def draw(policy: ChunkPolicy, rows: slice = slice(None)) -> torch.Tensor:
    """Two candidates for some rows of the tiny observation, each row with the noise that is its own."""
    obs = tiny_observation(policy.spec, policy.obs_steps)
    seeds = list(range(len(obs.state)))[rows]
    device = policy.device if isinstance(policy, Learner) else "cpu"
    noise = EpisodeNoise(seeds=seeds, ticks=[0] * len(seeds), device=device)
    return policy.sample(obs.rows(rows), 2, noise=noise)
