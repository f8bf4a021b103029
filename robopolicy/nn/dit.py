"""A diffusion transformer over the steps of a chunk (Peebles & Xie, arXiv:2212.09748, adaLN-zero).

Each control step of the chunk is a token. Time and observation reach the tokens through shifts, scales and
gates of every block, made from one vector by one matrix for all blocks together, which is zero at the start:
an untrained block is the identity.

Differs from the paper: tokens are control steps instead of image patches, positions are learned, and the
condition is a vector of any width instead of a class label.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from robopolicy.core.ranges import in_range
from robopolicy.nn.mlp import TimeFeatures
from robopolicy.nn.transformer import check_heads

# per block: shift, scale, gate of the attention, then of the MLP; at the end: shift and scale of the output
_PER_BLOCK, _PER_END = 6, 2


def modulate(
    x: Float[Tensor, "R H D"], shift: Float[Tensor, "R 1 D"], scale: Float[Tensor, "R 1 D"]
) -> Float[Tensor, "R H D"]:
    """Layer norm without weights of its own, then `(1 + scale) x + shift`."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), scale + 1)


class Block(nn.Module):
    """Self-attention and MLP, both modulated and gated.

    Args:
        width: D, of a token.
        heads: of the attention.
        mlp_ratio: hidden width of the MLP over D.
    """

    def __init__(self, *, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, mlp_ratio * width)
        self.down = nn.Linear(mlp_ratio * width, width)

    def forward(
        self, x: Float[Tensor, "R H D"], modulation: Float[Tensor, "R 6 D"]
    ) -> Float[Tensor, "R H D"]:
        """Tokens to tokens; `modulation` holds shift, scale and gate of the attention, then of the MLP."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation[:, :, None].unbind(1)
        x = torch.addcmul(x, gate_a, self._attend(modulate(x, shift_a, scale_a)))
        hidden = F.gelu(self.up(modulate(x, shift_m, scale_m)))
        return torch.addcmul(x, gate_m, self.down(hidden))

    def _attend(self, x: Tensor) -> Tensor:
        rows, steps, width = x.shape
        q, k, v = self.qkv(x).view(rows, steps, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, steps, width))


class DiT(nn.Module):
    """A velocity field on chunks; 2 M parameters by default, 7 M with `width=256, depth=6`.

    Args:
        action_size, horizon: of a chunk.
        context_size: of the condition.
        width: D, of a token.
        depth: number of blocks.
        heads: of the attention; must divide `width`.
        mlp_ratio: hidden width of a block's MLP over D.
    """

    def __init__(
        self,
        *,
        action_size: int,
        horizon: int,
        context_size: int,
        width: int = 192,
        depth: int = 3,
        heads: int = 4,
        mlp_ratio: int = 4,
    ) -> None:
        super().__init__()
        in_range("DiT", least=1, depth=depth, mlp_ratio=mlp_ratio)
        check_heads("DiT", width=width, heads=heads)
        self.width, self.depth = width, depth
        self.time = nn.Sequential(TimeFeatures(width=width), nn.Linear(width, width))
        self.context = nn.Linear(context_size, width)
        self.modulation = nn.Linear(width, (_PER_BLOCK * depth + _PER_END) * width)
        self.tokens = nn.Linear(action_size, width)
        self.positions = nn.Parameter(0.02 * torch.randn(horizon, width))
        self.blocks = nn.ModuleList(
            Block(width=width, heads=heads, mlp_ratio=mlp_ratio) for _ in range(depth)
        )
        self.head = nn.Linear(width, action_size)
        for layer in (self.modulation, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, x: Float[Tensor, "B N H A"], t: Float[Tensor, "B N"], ctx: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B N H A"]:
        """Chunks `x` at times `t` given the observation's `ctx`."""
        condition = F.silu(self.time(t) + self.context(ctx)[:, None]).flatten(0, 1)
        modulation = self.modulation(condition).view(len(condition), -1, self.width)
        tokens = self.tokens(x.flatten(0, 1)) + self.positions
        for i, block in enumerate(self.blocks):
            tokens = block(tokens, modulation[:, _PER_BLOCK * i : _PER_BLOCK * (i + 1)])
        shift, scale = modulation[:, -_PER_END:, None].unbind(1)
        return self.head(modulate(tokens, shift, scale)).view_as(x)
