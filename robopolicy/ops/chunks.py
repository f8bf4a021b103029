"""Arithmetic on action chunks `[B N H A]`: means that leave padding out, bounds, committed prefixes.

Beyond an episode's end a chunk repeats its last action and `is_pad` is true: such steps are no evidence of
what the demonstrator would have done, and count in no loss.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robopolicy.core.errors import SpecMismatchError
from robopolicy.core.spec import Spec


def row_means(error: Float[Tensor, "B H A"], is_pad: Bool[Tensor, "B H"]) -> Float[Tensor, " B"]:
    """Mean over the action and the steps that are not padding; 0 for a row that is all padding."""
    keep = (~is_pad).to(error.dtype)
    return (error.mean(-1) * keep).sum(-1) / keep.sum(-1).clamp(min=1)


def masked_mean(error: Float[Tensor, "B H A"], is_pad: Bool[Tensor, "B H"]) -> Float[Tensor, ""]:
    """The mean over rows of `row_means`.

    Each row counts the same, however much of it is padding. Dividing by the number of valid steps in the
    whole batch would instead make a row's weight depend on its neighbours, and micro-batches would no longer
    average to the full batch.
    """
    return row_means(error, is_pad).mean()


def bounds_of(spec: Spec, like: Tensor) -> tuple[Float[Tensor, " A"], Float[Tensor, " A"]]:
    """Lower and upper bound of each action element, physical, on the device of `like`."""
    return like.new_tensor(spec.action.low), like.new_tensor(spec.action.high)


def clip(chunk: Float[Tensor, "*rows A"], spec: Spec) -> Float[Tensor, "*rows A"]:
    """`chunk`, physical, clipped to the spec's bounds."""
    return chunk.clamp(*bounds_of(spec, chunk))


def with_prefix(
    chunk: Float[Tensor, "B N H A"], prefix: Float[Tensor, "B P A"] | None
) -> Float[Tensor, "B N H A"]:
    """`chunk` with its first P steps replaced by `prefix`."""
    if prefix is None:
        return chunk
    length = prefix.shape[1]
    held = prefix[:, None].expand_as(chunk[:, :, :length])
    return torch.cat([held, chunk[:, :, length:]], dim=2)


def check_prefix(prefix: Tensor | None, *, horizon: int, action_size: int) -> None:
    """Refuse a prefix that is not `[B P A]` with P at most `horizon`.

    Raises:
        SpecMismatchError: names the shapes.
    """
    if prefix is None:
        return
    if prefix.ndim != 3 or prefix.shape[1] > horizon or prefix.shape[2] != action_size:
        raise SpecMismatchError(
            f"a prefix of shape {list(prefix.shape)} does not fit; this policy wants [B, P, {action_size}] "
            f"with P at most {horizon}: commit fewer steps or train a longer chunk"
        )
