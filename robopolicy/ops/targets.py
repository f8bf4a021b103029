"""Slow copies of a module: target networks and averaged weights."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def target_of(module: M) -> M:
    """A copy that no optimiser moves: no gradients, equal weights."""
    return deepcopy(module).requires_grad_(False)


@torch.no_grad()
def polyak(target: nn.Module, online: nn.Module, rate: float) -> None:
    """`target += rate * (online - target)` for every parameter; buffers are copied."""
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), rate)
    for mine, other in zip(target.buffers(), online.buffers(), strict=True):
        mine.copy_(other)


def ema_rate(step: int, decay: float) -> float:
    """The `rate` of `polyak` for averaged weights after `step + 1` updates.

    `1 - min(decay, (1 + step) / (10 + step))`: the average forgets the random start quickly and slows down to
    `decay`. A function of the step alone, so that nothing more need be saved.
    """
    return 1 - min(decay, (1 + step) / (10 + step))
