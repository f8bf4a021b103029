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

# The quantiles among the statistics, and what share of the data lies below each
LEVELS = {"min": 0.0, "q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99, "max": 1.0}


class Normalizer(nn.Module):
    """State and action normalisation of one learner.

    Args:
        spec: gives the sizes.
        state_mode, action_mode: `mean_std` (to zero mean, unit deviation), `min_max` (to [-1, 1]), `quantile`
            (1 % and 99 % to -1 and 1; robust to outliers) or `identity`.
        min_scale: elements that vary less than this, in physical units, keep scale 1.
        quantiles: also keep `action_quantiles`, of normalised actions, `[len(LEVELS) A]`; then `fit` needs
            the statistics of all `LEVELS`.
    """

    state_offset: torch.Tensor
    state_scale: torch.Tensor
    action_offset: torch.Tensor
    action_scale: torch.Tensor
    action_quantiles: torch.Tensor

    def __init__(
        self,
        *,
        spec: Spec,
        state_mode: str = "mean_std",
        action_mode: str = "min_max",
        min_scale: float = 1e-4,
        quantiles: bool = False,
    ) -> None:
        super().__init__()
        for name, mode in (("state_mode", state_mode), ("action_mode", action_mode)):
            if mode not in MODES:
                raise ValueError(f"{name} is '{mode}'; one of {list(MODES)} is meant")
        self.state_mode, self.action_mode, self.min_scale = state_mode, action_mode, min_scale
        for name, size in (("state", len(spec.state)), ("action", len(spec.action))):
            self.register_buffer(f"{name}_offset", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))
        self.quantiles = quantiles
        if quantiles:  # until fitted, as if actions were spread evenly from -1 to 1
            even = 2 * torch.tensor(list(LEVELS.values())) - 1
            self.register_buffer("action_quantiles", even[:, None].repeat(1, len(spec.action)))

    def fit(self, stats: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Set the maps from `{"state": {...}, "action": {...}}`, each with mean, std, min, max, q01, q99
        `[size]`.
        """
        for name, mode in (("state", self.state_mode), ("action", self.action_mode)):
            offset, scale = _offset_and_scale(stats[name], mode, self.min_scale)
            getattr(self, f"{name}_offset").copy_(torch.from_numpy(offset))
            getattr(self, f"{name}_scale").copy_(torch.from_numpy(scale))
        if self.quantiles:
            found = np.stack([np.asarray(stats["action"][name], np.float32).reshape(-1) for name in LEVELS])
            self.action_quantiles.copy_(self.action(torch.from_numpy(found).to(self.action_offset.device)))

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
