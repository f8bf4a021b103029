"""Slow copies follow at their rate and are nobody's parameters."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from robopolicy.ops.targets import ema_rate, polyak, target_of


def test_polyak() -> None:
    online = nn.BatchNorm1d(3)
    target = target_of(online)
    assert not any(parameter.requires_grad for parameter in target.parameters())
    with torch.no_grad():
        online.weight += 1.0
        online.running_mean += 2.0  # type: ignore[operator]
    polyak(target, online, 0.25)
    torch.testing.assert_close(target.weight, torch.full((3,), 1.25))
    torch.testing.assert_close(target.running_mean, torch.full((3,), 2.0))
    torch.testing.assert_close(online.weight, torch.full((3,), 2.0))


def test_gradients_pass_through_a_target() -> None:
    x = torch.ones(1, 3, requires_grad=True)
    target_of(nn.Linear(3, 1))(x).sum().backward()
    assert x.grad is not None


def test_the_average_forgets_its_start_and_slows_down() -> None:
    rates = [ema_rate(step, 0.99) for step in range(2000)]
    assert rates[0] == 0.9
    assert all(later <= earlier for earlier, later in pairwise(rates))
    assert abs(rates[-1] - 0.01) < 1e-9
