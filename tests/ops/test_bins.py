"""Numbers to tokens and back, and draws of tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robopolicy.core.normalize import LEVELS
from robopolicy.ops import bins


def quantiles_of(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.quantile(values, list(LEVELS.values()), axis=0)).float()


@pytest.fixture
def values() -> np.ndarray:
    """A dense element with a far value, an even one, and one that never changes."""
    random = np.random.default_rng(0)
    columns = [random.normal(0, 0.05, 5000), random.uniform(-1, 1, 5000), np.full(5000, 0.3)]
    columns[0][0] = 1.0
    return np.stack(columns, axis=1).astype(np.float32)


@pytest.mark.parametrize("binning", [bins.uniform, bins.quantile])
def test_a_token_stands_for_what_it_was_made_of(binning: bins.Binning, values: np.ndarray) -> None:
    edges = binning(quantiles_of(values), 16)
    assert edges.shape == (3, 17)
    assert (edges.diff(dim=1) > 0).all()
    data = torch.from_numpy(values).view(50, 100, 3)
    tokens = bins.tokens_of(data, edges)
    off = (bins.centres_of(tokens, edges) - data).abs()
    assert (off <= bins.widths_of(tokens, edges) / 2 + 1e-6).all()
    assert bins.within(data, edges).all()
    far = torch.tensor([[-9.0, 9.0, 0.3]])
    assert bins.tokens_of(far, edges).tolist()[0][:2] == [0, 15]
    assert bins.within(far, edges).tolist() == [[False, False, True]]


def test_quantile_bins_are_finer_where_data_are(values: np.ndarray) -> None:
    found = {
        binning: np.bincount(
            bins.tokens_of(torch.from_numpy(values), binning(quantiles_of(values), 10))[:, 0], minlength=10
        )
        for binning in (bins.uniform, bins.quantile)
    }
    assert found[bins.uniform].max() > 0.6 * len(values)
    assert found[bins.quantile].max() < 0.25 * len(values)


@pytest.mark.parametrize("spread", [1e-3, 2.0])
def test_a_value_is_spread_over_bins_about_it(spread: float) -> None:
    edges = torch.linspace(-1, 1, 41).expand(2, -1)
    value = torch.tensor([[0.51, -5.0]])  # the second lies beyond all bins
    share = bins.spread_over(value, edges, spread)
    torch.testing.assert_close(share.sum(-1), torch.ones(1, 2))
    assert torch.equal(share.argmax(-1), bins.tokens_of(value, edges))
    centres = (edges[:, 1:] + edges[:, :-1]) / 2
    mean = (share * centres).sum(-1)[0, 0]
    deviation = (share * (centres - mean).square()).sum(-1)[0, 0].sqrt()
    assert mean == pytest.approx(0.51, abs=0.026)  # half a bin
    assert deviation == pytest.approx(0.05 * spread, abs=0.005)


def test_the_nucleus_holds_its_share_and_no_more() -> None:
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log()
    assert torch.equal(bins.nucleus(logits, 1.0, 1.0), logits.softmax(-1))
    for top_p, kept in ((1e-6, [1]), (0.5, [1]), (0.6, [1, 3]), (0.8, [1, 2, 3])):
        assert bins.nucleus(logits, 1.0, top_p)[0].nonzero().flatten().tolist() == kept
    warm = bins.nucleus(logits, 0.5, 1.0)
    torch.testing.assert_close(warm, logits.exp().square() / logits.exp().square().sum())


def test_draws_follow_their_weights_up_to_the_ends() -> None:
    weights = torch.tensor([[0.0, 0.2, 0.0, 0.6, 0.0]]).expand(10_001, -1)
    uniform = torch.linspace(0, 1, 10_001)  # both ends included
    shares = torch.bincount(bins.draw(weights, uniform), minlength=5) / 10_001
    torch.testing.assert_close(shares, torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0]), atol=1e-3, rtol=0)
