"""Generators keep apart what demonstrations keep apart."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from robopolicy.core.noise import EpisodeNoise
from robopolicy.core.types import Observation
from robopolicy.nn.mlp import ChunkMLP
from robopolicy.policies.energy import EnergyPolicy
from robopolicy.policies.flow import FlowPolicy
from robopolicy.testing import ChunkPolicy, tiny_batch, tiny_learner, tiny_spec
from robopolicy.testing.tiny import tiny_trainer


@pytest.mark.parametrize(
    "method",
    [
        partial(FlowPolicy, network=partial(ChunkMLP, hidden=(128, 128, 128))),
        partial(EnergyPolicy, network=partial(ChunkMLP, hidden=(128, 128)), steps=10, ema=0.9),
    ],
    ids=["flow", "energy"],
)
def test_two_modes_stay_two(method) -> None:
    """Demonstrations that turn left or right by 0.4, as often: samples do so too, and few go between."""
    policy = tiny_learner(lambda spec: method(spec=spec, horizon=2), tiny_spec()).eval()
    assert isinstance(policy, ChunkPolicy)
    batch = tiny_batch(policy, rows=256)
    side = torch.where(torch.arange(256) % 2 == 0, 0.4, -0.4)
    obs = Observation(state=batch.obs.state[:1].expand(256, -1, -1))
    batch = replace(
        batch, action=batch.action * 0 + side[:, None, None], is_pad=batch.is_pad & False, obs=obs
    )
    trainer = tiny_trainer(policy, 400)
    for _ in range(400):
        trainer.step(batch)
    turn = policy.sample(obs.rows(slice(0, 1)), 500, noise=EpisodeNoise(seeds=[0], ticks=[0]))[0, :, :, 0]
    right = (turn > 0.25).all(-1).float().mean().item()
    left = (turn < -0.25).all(-1).float().mean().item()
    assert right + left > 0.8
    assert 0.35 < right / (right + left) < 0.65
