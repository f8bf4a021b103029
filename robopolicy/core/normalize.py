"""Maps between physical values and the range a network likes, kept in buffers that travel with the weights.

Each map is linear and invertible: `x_n = (x - offset) / scale`. Elements that never change in the data (scale
below `min_scale`) are mapped with scale 1, so that nothing is divided by noise.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from robopolicy.core.spec import Spec

MODES = ("mean_std", "min_max", "quantile", "identity")


class Normalizer(nn.Module):
    """State and action normalisation of one learner.

    Args:
        spec: gives the sizes.
        state_mode, action_mode: `mean_std` (to zero mean, unit deviation), `min_max` (to [-1, 1]), `quantile`
            (1 % and 99 % to -1 and 1; robust to outliers) or `identity`.
        min_scale: elements that vary less than this, in physical units, keep scale 1.
    """

    state_offset: torch.Tensor
    state_scale: torch.Tensor
    action_offset: torch.Tensor
    action_scale: torch.Tensor

    def __init__(
        self,
        *,
        spec: Spec,
        state_mode: str = "mean_std",
        action_mode: str = "min_max",
        min_scale: float = 1e-4,
    ) -> None:
        super().__init__()
        for name, mode in (("state_mode", state_mode), ("action_mode", action_mode)):
            if mode not in MODES:
                raise ValueError(f"{name} is '{mode}'; one of {list(MODES)} is meant")
        self.state_mode, self.action_mode, self.min_scale = state_mode, action_mode, min_scale
        for name, size in (("state", len(spec.state)), ("action", len(spec.action))):
            self.register_buffer(f"{name}_offset", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))

    def fit(self, stats: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Set the maps from `{"state": {...}, "action": {...}}`, each with mean, std, min, max, q01, q99
        `[size]`.
        """
        for name, mode in (("state", self.state_mode), ("action", self.action_mode)):
            offset, scale = _offset_and_scale(stats[name], mode, self.min_scale)
            getattr(self, f"{name}_offset").copy_(torch.from_numpy(offset))
            getattr(self, f"{name}_scale").copy_(torch.from_numpy(scale))

    def state(self, state: torch.Tensor) -> torch.Tensor:
        """Physical state `[... S]` to normalised."""
        return (state - self.state_offset) / self.state_scale

    def action(self, action: torch.Tensor) -> torch.Tensor:
        """Physical action `[... A]` to normalised."""
        return (action - self.action_offset) / self.action_scale

    def unaction(self, action: torch.Tensor) -> torch.Tensor:
        """Normalised action `[... A]` to physical."""
        return action * self.action_scale + self.action_offset


def _offset_and_scale(
    stats: Mapping[str, np.ndarray], mode: str, min_scale: float
) -> tuple[np.ndarray, np.ndarray]:
    def get(name: str) -> np.ndarray:
        return np.asarray(stats[name], dtype=np.float64).reshape(-1)

    if mode == "mean_std":
        offset, scale = get("mean"), get("std")
    elif mode == "identity":
        offset, scale = np.zeros_like(get("mean")), np.ones_like(get("mean"))
    else:
        low, high = (get("min"), get("max")) if mode == "min_max" else (get("q01"), get("q99"))
        offset, scale = (low + high) / 2, (high - low) / 2
    scale = np.where(scale < min_scale, 1.0, scale)
    return offset.astype(np.float32), scale.astype(np.float32)
