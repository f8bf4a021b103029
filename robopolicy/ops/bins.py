"""Numbers as tokens: bins per action element, and draws from a distribution over them.

Bins lie where the data do. Their edges are made of the data's quantiles, which a `core.normalize.Normalizer`
keeps: evenly over the whole range (Brohan et al. 2022, arXiv:2212.06817), or such that about as much of the
data falls into each (finer where demonstrations are dense, so that a few far values cost no resolution).
A number stands for itself at best to half a bin; a token stands for the centre of its bin.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from robopolicy.core.normalize import LEVELS

Edges = Float[Tensor, "A K_plus_1"]
"""Of the K bins of each action element, ascending."""

Binning = Callable[[Float[Tensor, "Q A"], int], Edges]
"""`(quantiles at LEVELS, number of bins) -> edges`: `uniform` or `quantile`."""

# Least half-width of what the bins of an element span: one that never changes still needs bins
_LEAST = 1e-2
# Share of even spacing in bins of equal mass: none is so narrow that numbers cannot tell its edges apart
_EVEN = 0.1


def uniform(quantiles: Float[Tensor, "Q A"], num_bins: int) -> Edges:
    """Bins of equal width, from the least value in the data to the largest."""
    low, high = quantiles[0], quantiles[-1]
    centre, half = (low + high) / 2, ((high - low) / 2).clamp(min=_LEAST)
    return torch.lerp(
        (centre - half)[:, None],
        (centre + half)[:, None],
        torch.linspace(0, 1, num_bins + 1, device=quantiles.device),
    )


def quantile(quantiles: Float[Tensor, "Q A"], num_bins: int) -> Edges:
    """Bins of about equal mass: the distribution is taken to be even between the known quantiles."""
    levels = quantiles.new_tensor(tuple(LEVELS.values()))
    shares = torch.linspace(0, 1, num_bins + 1, device=quantiles.device)
    above = torch.searchsorted(levels, shares, right=True).clamp(1, len(levels) - 1)
    way = (shares - levels[above - 1]) / (levels[above] - levels[above - 1])
    edges = torch.lerp(quantiles[above - 1], quantiles[above], way[:, None]).T
    return torch.lerp(edges, uniform(quantiles, num_bins), _EVEN)


def tokens_of(values: Float[Tensor, "*rows A"], edges: Edges) -> Int64[Tensor, "*rows A"]:
    """The bin of each value; beyond the outermost edges, the nearest."""
    columns = values.movedim(-1, 0).flatten(1)
    found = torch.searchsorted(edges[:, 1:-1].contiguous(), columns.contiguous(), right=True)
    return found.view(values.movedim(-1, 0).shape).movedim(0, -1)


def centres_of(tokens: Int64[Tensor, "*rows A"], edges: Edges) -> Float[Tensor, "*rows A"]:
    """The values that tokens stand for."""
    return _each(tokens, (edges[:, :-1] + edges[:, 1:]) / 2)


def widths_of(tokens: Int64[Tensor, "*rows A"], edges: Edges) -> Float[Tensor, "*rows A"]:
    """How wide the tokens' bins are."""
    return _each(tokens, edges.diff(dim=1))


def within(values: Float[Tensor, "*rows A"], edges: Edges) -> Bool[Tensor, "*rows A"]:
    """Which values lie in a bin at all."""
    return (values >= edges[:, 0]) & (values <= edges[:, -1])


def spread_over(values: Float[Tensor, "*rows A"], edges: Edges, spread: float) -> Float[Tensor, "*rows A K"]:
    """Probabilities of the bins for a value that is blurred by a normal distribution (Imani & White 2018,
    arXiv:1806.04613): what to learn, where neighbours of the right bin are nearly right.

    Args:
        values: beyond the outermost edges they count as lying on them.
        edges: of the bins.
        spread: standard deviation, in widths of the value's own bin.
    """
    inside = values.clamp(edges[:, 0], edges[:, -1])
    deviation = spread * widths_of(tokens_of(inside, edges), edges)
    below = torch.special.ndtr((edges - inside[..., None]) / deviation[..., None])
    mass = below.diff(dim=-1)
    return mass / mass.sum(-1, keepdim=True)


def nucleus(logits: Float[Tensor, "R K"], temperature: float, top_p: float) -> Float[Tensor, "R K"]:
    """Probabilities at a temperature, 0 but for the likeliest tokens that together hold `top_p` (Holtzman et
    al. 2020, arXiv:1904.09751); what is left does not add up to 1.
    """
    probabilities = (logits / temperature).softmax(-1)
    if top_p >= 1:
        return probabilities
    ranked, order = probabilities.sort(dim=-1, descending=True, stable=True)
    spare = ranked.cumsum(-1) - ranked >= top_p  # the likelier ones suffice; the likeliest always stays
    return torch.zeros_like(probabilities).scatter(-1, order, ranked.masked_fill(spare, 0.0))


def draw(weights: Float[Tensor, "R K"], uniform: Float[Tensor, " R"]) -> Int64[Tensor, " R"]:
    """The token below which lies the share `uniform` in [0, 1] of the weight: uniform numbers give draws.

    Tokens of weight 0 are never drawn.
    """
    cumulative = weights.cumsum(-1)
    sought = uniform[:, None].clamp(max=1 - 1e-6) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, sought, right=True).squeeze(-1)


def _each(tokens: Tensor, table: Float[Tensor, "A K"]) -> Tensor:
    return table[torch.arange(len(table), device=table.device), tokens]
