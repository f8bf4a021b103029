"""Annotations are checked wherever tests run, so that what they say stays true."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from robopolicy.nn.mlp import ChunkMLP
from robopolicy.ops import flow
from robopolicy.policies.gaussian import GaussianPolicy
from robopolicy.testing import tiny_batch, tiny_spec

POINTS = torch.zeros(2, 3, 4, 5)  # B N H A
NETWORK = ChunkMLP(action_size=5, horizon=4, context_size=7, hidden=(8,))
WRONG_TIMES = {
    "no candidates": torch.zeros(2),
    "another order": torch.zeros(3, 2),
    "integers": torch.zeros(2, 3, dtype=torch.long),
    "no tensor": 0.5,
}


@pytest.mark.parametrize("wrong", WRONG_TIMES)
def test_maths_and_networks_refuse_wrong_times(wrong: str) -> None:
    t = WRONG_TIMES[wrong]
    with pytest.raises(TypeCheckError, match="parameter 't'"):
        flow.interpolate(POINTS, POINTS, t)  # type: ignore[arg-type]
    with pytest.raises(TypeCheckError, match="parameter 't'"):
        NETWORK(POINTS, t, torch.zeros(2, 7))


def test_policies_refuse_wrong_chunks_and_never_return_them(monkeypatch) -> None:
    policy = GaussianPolicy(spec=tiny_spec(), horizon=4, hidden=(8,))
    batch = tiny_batch(policy, step=0, rows=2)
    assert policy.log_prob(batch.obs, batch.action[:, None]).shape == (2, 1)
    with pytest.raises(TypeCheckError, match="parameter 'chunk'"):
        policy.log_prob(batch.obs, batch.action)
    monkeypatch.setattr("robopolicy.policies.gaussian.with_prefix", lambda chunk, prefix: chunk[:, 1:])
    with pytest.raises(TypeCheckError, match="return value"):
        policy.sample(batch.obs, n=3)
