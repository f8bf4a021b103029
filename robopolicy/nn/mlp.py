"""Multi-layer perceptrons: the plain stack, and two that map a noisy chunk to what a policy asks of it.

GELU in its exact form: on a CPU, torch computes it three to eight times faster than the tanh form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robopolicy.core.ranges import in_range


def mlp(sizes: Sequence[int], *, activate_last: bool = False) -> nn.Sequential:
    """Linear layers of these sizes with GELU between them, `[... sizes[0]]` to `[... sizes[-1]]`."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.GELU()]
    return nn.Sequential(*(layers if activate_last else layers[:-1]))


class TimeFeatures(nn.Module):
    """Sines and cosines of a time in [0, 1].

    Wavelengths are spread geometrically from `longest` down to `shortest`; a velocity field is smooth in time
    and gains nothing from shorter ones.
    """

    rates: Tensor

    def __init__(self, *, width: int, longest: float = 4.0, shortest: float = 0.04) -> None:
        super().__init__()
        wavelengths = torch.logspace(math.log10(longest), math.log10(shortest), width // 2)
        self.register_buffer("rates", 2 * math.pi / wavelengths, persistent=False)

    def forward(self, t: Float[Tensor, "*any"]) -> Float[Tensor, "*any width"]:
        """Times to features."""
        angles = t[..., None] * self.rates
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _joined(
    x: Float[Tensor, "B N H A"], time: Float[Tensor, "B N K"], ctx: Float[Tensor, "B D"]
) -> Float[Tensor, "B N L"]:
    """All that a network on flat chunks is told, each candidate with its row's `ctx`."""
    return torch.cat([ctx[:, None].expand(-1, x.shape[1], -1), x.flatten(2), time], dim=-1)


class ChunkMLP(nn.Module):
    """A network on flattened chunks: predicts whatever it is trained on, in the shape of the chunk.

    Args:
        action_size, horizon: of a chunk.
        context_size: of the condition.
        hidden: widths of the hidden layers.
        time_width: of the time's features.
    """

    def __init__(
        self,
        *,
        action_size: int,
        horizon: int,
        context_size: int,
        hidden: Sequence[int] = (512, 512, 512),
        time_width: int = 32,
    ) -> None:
        super().__init__()
        in_range("ChunkMLP", least=1, time_width=time_width)
        in_range("ChunkMLP", least=1, **{f"hidden[{i}]": width for i, width in enumerate(hidden)})
        size = horizon * action_size
        self.time = TimeFeatures(width=time_width)
        self.layers = mlp([context_size + size + time_width, *hidden, size])

    def forward(
        self, x: Float[Tensor, "B N H A"], t: Float[Tensor, "B N"], ctx: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B N H A"]:
        """Chunks `x` at times `t` given the observation's `ctx`."""
        return self.layers(_joined(x, self.time(t), ctx)).view_as(x)


class ChunkResNet(nn.Module):
    """As `ChunkMLP`, with residual blocks and layer norm (after IDQL, Hansen-Estruch et al. 2023,
    arXiv:2304.10573).

    Args:
        action_size, horizon: of a chunk.
        context_size: of the condition.
        width: of the stream from block to block.
        blocks: how many.
        expand: hidden width of a block over `width`.
        time_width: of the time's features.
    """

    def __init__(
        self,
        *,
        action_size: int,
        horizon: int,
        context_size: int,
        width: int = 256,
        blocks: int = 3,
        expand: int = 4,
        time_width: int = 32,
    ) -> None:
        super().__init__()
        in_range("ChunkResNet", least=1, width=width, blocks=blocks, expand=expand, time_width=time_width)
        size = horizon * action_size
        self.time = TimeFeatures(width=time_width)
        self.first = nn.Linear(context_size + size + time_width, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), *mlp([width, expand * width, width])) for _ in range(blocks)
        )
        self.last = nn.Sequential(nn.GELU(), nn.Linear(width, size))

    def forward(
        self, x: Float[Tensor, "B N H A"], t: Float[Tensor, "B N"], ctx: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B N H A"]:
        """Chunks `x` at times `t` given the observation's `ctx`."""
        h = self.first(_joined(x, self.time(t), ctx))
        for block in self.blocks:
            h = h + block(h)
        return self.last(h).view_as(x)
