"""Slow copies of a module: target networks and averaged weights.

Both follow `target += rate * (online - target)` after each step of the online module (Polyak & Juditsky,
1992); a target network with a constant rate, averaged weights with one that shrinks as training goes on.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def target_of(module: M) -> M:
    """A copy that no optimiser moves: equal weights, no gradients of its own.

    Gradients still pass through it to its inputs.
    """
    return deepcopy(module).requires_grad_(False)


@torch.no_grad()
def polyak(target: nn.Module, online: nn.Module, rate: float) -> None:
    """Move every parameter of `target` towards `online`'s; buffers are copied.

    Args:
        target: made by `target_of(online)`.
        online: what is trained.
        rate: 0 leaves the target, 1 copies.
    """
    # one launch for all of them on a GPU; torch's own averaged models use the same function
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), rate)  # pyright: ignore
    for mine, other in zip(target.buffers(), online.buffers(), strict=True):
        mine.copy_(other)


def ema_rate(step: int, decay: float) -> float:
    """The `rate` of `polyak` for averaged weights: `1 - min(decay, (1 + step) / (10 + step))`.

    The average forgets the random start quickly and slows down to `decay`. A function of the step alone, so
    that nothing more need be saved.

    Args:
        step: number of the update just made, from 0.
        decay: share of the old average that stays, in the long run.
    """
    return 1 - min(decay, (1 + step) / (10 + step))
