"""Transformer encoder and decoder in the form of DETR (Carion et al. 2020, arXiv:2005.12872).

Norms come after each residual; positions are added to queries and keys, never to values. Differs from the
paper: attention weights are not dropped out, only hidden units of the MLPs and what the branches add.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from robopolicy.core.errors import ConfigError
from robopolicy.core.ranges import in_range


def sinusoids(length: int, width: int) -> Float[Tensor, "{length} {width}"]:
    """Positions on a line (Vaswani et al. 2017, arXiv:1706.03762)."""
    return _waves(torch.arange(length), width)


def sinusoids_2d(height: int, breadth: int, width: int) -> Float[Tensor, "{height}*{breadth} {width}"]:
    """Positions in a plane, row by row: half of the width for each axis.

    Coordinates run from 0 to 2 pi whatever the size of the plane, as in DETR.
    """
    y, x = (_waves((torch.arange(n) + 1) * (2 * math.pi / n), width // 2) for n in (height, breadth))
    both = [y[:, None].expand(-1, breadth, -1), x[None].expand(height, -1, -1)]
    return torch.cat(both, dim=-1).flatten(0, 1)


def _waves(at: Tensor, width: int) -> Tensor:
    angles = at[:, None] * 10_000 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def check_heads(owner: str, *, width: int, heads: int) -> None:
    """Refuse heads that cannot share a token's width evenly.

    Raises:
        ConfigError: names the owner and both numbers.
    """
    in_range(owner, least=1, width=width, heads=heads)
    if width % heads:
        raise ConfigError(f"{owner}: width {width} cannot have {heads} heads; take a divisor of it")


class Attention(nn.Module):
    """Multi-head attention of queries to a memory.

    Args:
        width: D, of a token.
        heads: must divide the width.
    """

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        check_heads("Attention", width=width, heads=heads)
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(
        self,
        query: Float[Tensor, "#R L D"],
        key: Float[Tensor, "R M D"],
        value: Float[Tensor, "R M D"],
        mask: Bool[Tensor, "R 1 1 M"] | None = None,
    ) -> Float[Tensor, "R L D"]:
        """What each query finds.

        Args:
            query, key, value: positions included, where there are any; equal queries need but one row.
            mask: true where the memory may be seen.
        """
        q, k, v = self._split(self.query(query)), self._split(self.key(key)), self._split(self.value(value))
        q = q.expand(len(k), -1, -1, -1)
        return self.out(F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _Layer(nn.Module):
    """An MLP, the residuals and the norms after them: what the layers of encoder and decoder share."""

    def __init__(self, *, width: int, hidden: int, dropout: float, norms: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(norms))
        self.dropout = nn.Dropout(dropout)

    def add(
        self, norm: int, x: Float[Tensor, "#R L D"], branch: Float[Tensor, "R L D"]
    ) -> Float[Tensor, "R L D"]:
        """The residual and its norm."""
        return self.norms[norm](x + self.dropout(branch))

    def mlp(self, norm: int, x: Float[Tensor, "R L D"]) -> Float[Tensor, "R L D"]:
        """The MLP, with its residual."""
        return self.add(norm, x, self.down(self.dropout(F.relu(self.up(x)))))


class EncoderLayer(nn.Module):
    """Self-attention and MLP.

    Args:
        width: D, of a token.
        heads: of the attention.
        hidden: width of the MLP.
        dropout: of what a branch adds and of the MLP's hidden units.
    """

    def __init__(self, *, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width=width, heads=heads)
        self.rest = _Layer(width=width, hidden=hidden, dropout=dropout, norms=2)

    def forward(
        self,
        x: Float[Tensor, "R L D"],
        positions: Float[Tensor, "L D"],
        mask: Bool[Tensor, "R 1 1 L"] | None,
        *,
        first_only: bool = False,
    ) -> Float[Tensor, "R L_out D"]:
        """Tokens to tokens, or to one where only the first is wanted."""
        placed = x + positions
        wanted = slice(0, 1) if first_only else slice(None)
        x = self.rest.add(0, x[:, wanted], self.attention(placed[:, wanted], placed, x, mask))
        return self.rest.mlp(1, x)


class Encoder(nn.Module):
    """Layers of self-attention.

    Args:
        layers: how many.
        width, heads, hidden, dropout: see `EncoderLayer`.
    """

    def __init__(self, *, layers: int, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(width=width, heads=heads, hidden=hidden, dropout=dropout) for _ in range(layers)
        )
        _start(self)

    def forward(
        self,
        x: Float[Tensor, "R L D"],
        positions: Float[Tensor, "L D"],
        is_pad: Bool[Tensor, "R L"] | None = None,
        *,
        first_only: bool = False,
    ) -> Float[Tensor, "R L_out D"]:
        """Tokens to tokens.

        Args:
            x: the tokens.
            positions: added to queries and keys of every layer.
            is_pad: tokens that nobody may look at.
            first_only: give the first token alone; the last layer then works for it alone.
        """
        mask = None if is_pad is None else ~is_pad[:, None, None]
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            x = layer(x, positions, mask, first_only=first_only and i == last)
        return x


class DecoderLayer(nn.Module):
    """Self-attention, attention to a memory, MLP. Arguments as of `EncoderLayer`."""

    def __init__(self, *, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.own, self.cross = Attention(width=width, heads=heads), Attention(width=width, heads=heads)
        self.rest = _Layer(width=width, hidden=hidden, dropout=dropout, norms=3)

    def forward(
        self,
        x: Float[Tensor, "#R H D"],
        queries: Float[Tensor, "H D"],
        memory: Float[Tensor, "R L D"],
        placed: Float[Tensor, "R L D"],
    ) -> Float[Tensor, "R H D"]:
        """`x` at `queries`, and a memory without and with positions."""
        x = self.rest.add(0, x, self.own(x + queries, x + queries, x))
        x = self.rest.add(1, x, self.cross(x + queries, placed, memory))
        return self.rest.mlp(2, x)


class Decoder(nn.Module):
    """Learned queries that look at a memory, and at each other.

    They start at zero, hence equal in all rows: up to the first look at the memory they are computed once
    instead of once a row.

    Args:
        length: H, number of queries.
        layers: how many.
        width, heads, hidden, dropout: see `EncoderLayer`.
    """

    def __init__(
        self, *, length: int, layers: int, width: int, heads: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(width=width, heads=heads, hidden=hidden, dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        _start(self)
        self.queries = nn.Parameter(torch.randn(length, width))

    def forward(
        self, memory: Float[Tensor, "R L D"], positions: Float[Tensor, "L D"]
    ) -> Float[Tensor, "R H D"]:
        """What the H queries make of a memory."""
        x, placed = torch.zeros_like(self.queries)[None], memory + positions
        for layer in self.layers:
            x = layer(x, self.queries, memory, placed)
        return self.norm(x)


def _start(module: nn.Module) -> None:
    """Every matrix by Glorot's rule, as in DETR."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
