"""The limits of an action, as a module, so that they follow a learner to its device."""

from __future__ import annotations

import torch
from torch import nn

from robopolicy.core.spec import Spec


class ActionBounds(nn.Module):
    """Lower and upper bound of each action element, in physical units.

    Args:
        spec: gives them; they are not saved with the weights.
    """

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, *, spec: Spec) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(spec.action.low, dtype=torch.float32), persistent=False)
        self.register_buffer("high", torch.tensor(spec.action.high, dtype=torch.float32), persistent=False)

    def clip(self, action: torch.Tensor) -> torch.Tensor:
        """`action [... A]` clipped to the bounds."""
        return action.clamp(self.low, self.high)
