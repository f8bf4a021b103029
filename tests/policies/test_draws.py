"""Several draws of noise and time for each chunk of an update."""

import functools
from dataclasses import replace

import pytest
import torch

from robopolicy.core.noise import StepNoise
from robopolicy.nn.mlp import ChunkMLP
from robopolicy.policies.diffusion import DiffusionPolicy
from robopolicy.policies.flow import FlowPolicy
from robopolicy.testing import tiny_batch, tiny_learner, tiny_spec

NETWORK = functools.partial(ChunkMLP, hidden=(16,))


def losses(policy, steps: int) -> torch.Tensor:
    """The loss of one batch, with the noise of each of the steps."""
    batch = tiny_batch(policy)
    found = []
    for step in range(steps):
        noise = StepNoise(seed=0, step=step, total=len(batch))
        (loss,) = policy.losses(replace(batch, noise=noise), step)
        found.append(loss.value.detach())
    return torch.stack(found)


@pytest.mark.parametrize("kind", [FlowPolicy, DiffusionPolicy])
def test_many_draws_scatter_less_about_the_same_mean_and_encode_once(kind):
    one, many = (
        tiny_learner(lambda spec, n=n: kind(spec=spec, horizon=4, network=NETWORK, draws=n), tiny_spec())
        for n in (1, 16)
    )
    many.load_state_dict(one.state_dict())
    calls = []
    many.trained["encoder"].register_forward_hook(lambda *_: calls.append(1))
    few, more = losses(one, 200), losses(many, 200)
    assert len(calls) == 200
    assert more.std() < 0.4 * few.std()  # 1/4 where draws are independent
    assert (more.mean() - few.mean()).abs() < 4 * few.std() / 200**0.5
