"""A causal transformer that writes a chunk of tokens one by one (Vaswani et al. 2017, arXiv:1706.03762).

The observation's vector comes first, then the tokens; each sees itself and what came before, and says what
comes next. In learning all are computed at once. In generating, the keys and values of what is written are
kept, so that a token costs one token's work; those of the observation, and of tokens that are given, are
computed once for all candidates.

Differs from the paper: norms come before each branch, positions are learned, and a token is taken for what it
is, the place of a number on a line. Its embedding and its output are sums of waves over the places of its
action element, the slow ones strongest, so that neighbours are alike until data tell them apart; a table with
a row for each token would need far more demonstrations to find that out.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from robopolicy.core.ranges import in_range
from robopolicy.nn.transformer import check_heads

_WAVES = 64  # over all places; with logits of a few units a peak can still be as narrow as one of 256 places

Pick = Callable[[Float[Tensor, "R K"], int], Int64[Tensor, " R"]]
"""`(logits, place) -> token` of each row."""


def waves(num: int) -> Float[Tensor, "{num} F"]:
    """Cosines over `num` places, from a constant on; the faster, the lower."""
    rates = torch.arange(min(num, _WAVES))
    places = (torch.arange(num) + 0.5) * (math.pi / num)
    return 8 * (places[:, None] * rates).cos() / (1 + rates)


class CausalBlock(nn.Module):
    """Causal self-attention and MLP.

    Args:
        width: D, of a token.
        heads: of the attention.
        mlp_ratio: hidden width of the MLP over D.
    """

    def __init__(self, *, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, mlp_ratio * width), nn.Linear(mlp_ratio * width, width)

    def forward(
        self, x: Float[Tensor, "R L D"], kept: Float[Tensor, "2 R heads M d"] | None = None, start: int = 0
    ) -> Float[Tensor, "R L D"]:
        """Tokens to tokens.

        Args:
            x: all tokens from the first on; or the one at `start`, where those before it are kept.
            kept: keys and values; those of `x` are written to it.
            start: the place of x's first token in `kept`.
        """
        rows, length, width = x.shape
        qkv = self.qkv(self.norms[0](x)).view(rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        keys, values = qkv[1:]
        if kept is not None:
            kept[:, :, :, start : start + length] = qkv[1:]
            keys, values = kept[:, :, :, : start + length]
        # the one newest token may look at all there is
        found = F.scaled_dot_product_attention(qkv[0], keys, values, is_causal=length > 1)
        x = x + self.out(found.transpose(1, 2).reshape(rows, length, width))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class CausalTransformer(nn.Module):
    """A distribution over chunks of tokens, each given the ones before; untrained, it is uniform.

    Args:
        action_size, horizon: of a chunk, written step by step, A tokens a step.
        num_bins: K, tokens of one action element.
        context_size: of the observation's vector.
        width: D, of a token.
        depth: number of blocks.
        heads: of the attention; must divide `width`.
        mlp_ratio: hidden width of a block's MLP over D.
    """

    waves: Tensor

    def __init__(
        self,
        *,
        action_size: int,
        horizon: int,
        num_bins: int,
        context_size: int,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        mlp_ratio: int = 4,
    ) -> None:
        super().__init__()
        in_range("CausalTransformer", least=1, depth=depth, mlp_ratio=mlp_ratio)
        check_heads("CausalTransformer", width=width, heads=heads)
        self.action_size, self.num_bins, self.length = action_size, num_bins, horizon * action_size
        self.heads = heads
        self.register_buffer("waves", waves(num_bins), persistent=False)
        num_waves = self.waves.shape[1]
        self.context = nn.Linear(context_size, width)
        self.embedding = nn.Parameter(0.05 * torch.randn(action_size, num_waves, width))
        self.positions = nn.Parameter(0.02 * torch.randn(self.length, width))
        self.blocks = nn.ModuleList(
            CausalBlock(width=width, heads=heads, mlp_ratio=mlp_ratio) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Parameter(torch.zeros(action_size, width, num_waves))

    def forward(self, ctx: Float[Tensor, "R C"], tokens: Int64[Tensor, "R H A"]) -> Float[Tensor, "R H A K"]:
        """Logits of each token, given the observation's `ctx` and the tokens before it."""
        x = self._embed(ctx, tokens.flatten(1)[:, :-1], self._table())
        for block in self.blocks:
            x = block(x)
        hidden = self.norm(x).unflatten(1, (-1, self.action_size))  # [R H A D]
        factors = torch.bmm(hidden.permute(2, 0, 1, 3).flatten(1, 2), self.head)
        return (factors @ self.waves.T).unflatten(1, hidden.shape[:2]).permute(1, 2, 0, 3)

    def generate(
        self, ctx: Float[Tensor, "B C"], n: int, pick: Pick, given: Int64[Tensor, "B P A"]
    ) -> Int64[Tensor, "B N H A"]:
        """`n` chunks for each row, token by token, all rows and candidates together.

        Args:
            ctx: of the observations.
            n: candidates.
            pick: chooses the token at a place from its logits, of `B * n` rows.
            given: the first steps of all candidates.
        """
        table, tokens = self._table(), given.flatten(1)
        start = tokens.shape[1]
        written = [tokens.repeat_interleave(n, dim=0)]
        if start < self.length:
            hidden, kept = self._begin(self._embed(ctx, tokens, table), n)
            for i in range(start, self.length):
                token = pick(self._logits(hidden, i), i)
                written.append(token[:, None])
                if i + 1 < self.length:
                    hidden = self._extend(table[i % self.action_size, token], i + 1, kept)
        return torch.cat(written, dim=1).view(len(ctx), n, -1, self.action_size)

    def _begin(
        self, x: Float[Tensor, "B L D"], n: int
    ) -> tuple[Float[Tensor, "R D"], Float[Tensor, "depth 2 R heads T d"]]:
        """What all candidates of a row share, computed once: where they go on, and room for the rest."""
        rows, length, width = x.shape
        shared = x.new_empty(len(self.blocks), 2, rows, self.heads, length, width // self.heads)
        for block, layer in zip(self.blocks, shared, strict=True):
            x = block(x, layer)
        kept = x.new_empty(len(self.blocks), 2, rows * n, self.heads, self.length, width // self.heads)
        kept[..., :length, :] = shared.repeat_interleave(n, dim=2)
        return x[:, -1].repeat_interleave(n, dim=0), kept

    def _extend(
        self, x: Float[Tensor, "R D"], place: int, kept: Float[Tensor, "depth 2 R heads T d"]
    ) -> Float[Tensor, "R D"]:
        """What follows an embedded token, which comes to stand at `place` among those that are kept."""
        x = (x + self.positions[place])[:, None]
        for block, layer in zip(self.blocks, kept, strict=True):
            x = block(x, layer, place)
        return x[:, 0]

    def _table(self) -> Float[Tensor, "A K D"]:
        """The embedding of every token."""
        return self.waves @ self.embedding

    def _embed(
        self, ctx: Float[Tensor, "R C"], tokens: Int64[Tensor, "R L"], table: Float[Tensor, "A K D"]
    ) -> Float[Tensor, "R L_plus_1 D"]:
        """The observation and the tokens after it, at their places."""
        length = tokens.shape[1]
        kinds = torch.arange(length, device=tokens.device) % self.action_size
        embedded = F.embedding(tokens + kinds * self.num_bins, table.flatten(0, 1))
        return torch.cat([self.context(ctx)[:, None], embedded], dim=1) + self.positions[: length + 1]

    def _logits(self, hidden: Float[Tensor, "R D"], place: int) -> Float[Tensor, "R K"]:
        """Of the token at `place`."""
        return self.norm(hidden) @ self.head[place % self.action_size] @ self.waves.T
