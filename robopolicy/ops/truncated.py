"""The normal distribution conditioned on an interval, element by element.

    log p(x) = log N(x; m, s) - log(Phi((high - m) / s) - Phi((low - m) / s))

With the mean inside the interval the two terms of the mass have opposite signs, and their difference is exact
in float32 however narrow or wide the interval is. An infinite bound gives the ordinary normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Stands in for infinity: beyond it exp and erf are saturated, and inf * 0 would spoil the gradients.
_FAR = 1e6
# Smallest tail of a draw: float32 cannot tell 1 - 1e-8 from 1.
_TAIL = 1e-7


@dataclass(frozen=True)
class TruncatedNormal:
    """Independent truncated normals.

    Args:
        mean: of the normal, inside the interval; see `inside`.
        std: of the normal, positive.
        low, high: the interval, finite (at most `_FAR` away).
    """

    mean: Float[Tensor, "*rows A"]
    std: Float[Tensor, "*rows A"]
    low: Float[Tensor, " A"]
    high: Float[Tensor, " A"]

    @staticmethod
    def inside(
        raw: Float[Tensor, "*rows A"],
        std: Float[Tensor, "*rows A"],
        *,
        low: Float[Tensor, " A"],
        high: Float[Tensor, " A"],
    ) -> TruncatedNormal:
        """With `raw`, any number, brought smoothly between the bounds, which may be infinite.

        Between two finite bounds the mean is `centre + half * tanh((raw - centre) / half)`; where a side is
        open, `raw` clipped to the other.
        """
        low, high = low.clamp(min=-_FAR), high.clamp(max=_FAR)
        centre, half = (low + high) / 2, ((high - low) / 2).clamp(min=1e-6)
        mean = torch.where(
            half < _FAR / 4, centre + half * torch.tanh((raw - centre) / half), raw.clamp(low, high)
        )
        return TruncatedNormal(mean, std, low, high)

    def unsqueeze(self, dim: int) -> TruncatedNormal:
        """With a new axis in mean and standard deviation, for candidates."""
        return TruncatedNormal(self.mean.unsqueeze(dim), self.std.unsqueeze(dim), self.low, self.high)

    def log_prob(self, x: Float[Tensor, "*rows A"]) -> Float[Tensor, "*rows A"]:
        """Log-density of each element; `x` is taken to be inside the interval."""
        z = (x - self.mean) / self.std
        below, above = self._masses()
        return -0.5 * z.square() - self.std.log() - 0.5 * math.log(2 * math.pi) - (below + above).log()

    def quantile(self, u: Float[Tensor, "*rows A"]) -> Float[Tensor, "*rows A"]:
        """The value below which lies the share `u` in [0, 1) of the mass: uniform `u` gives samples."""
        below, above = self._masses()
        p = (0.5 - below + u * (below + above)).clamp(_TAIL, 1 - _TAIL)
        return (self.mean + self.std * torch.special.ndtri(p)).clamp(self.low, self.high)

    def _masses(self) -> tuple[Tensor, Tensor]:
        """The normal's mass between the low bound and the mean, and between the mean and the high bound."""
        scale = 0.5**0.5 / self.std
        return (
            0.5 * torch.erf((self.mean - self.low) * scale),
            0.5 * torch.erf((self.high - self.mean) * scale),
        )
