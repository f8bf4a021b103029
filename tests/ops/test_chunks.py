"""Padding counts nowhere; a row's weight does not depend on its neighbours."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robopolicy.core.errors import SpecMismatchError
from robopolicy.ops import chunks


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(0, 6), min_size=2, max_size=6), seed=st.integers(0, 99))
def test_masked_mean(lengths: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    error = torch.randn(len(lengths), 6, 2, generator=generator)
    is_pad = torch.arange(6) >= torch.tensor(lengths)[:, None]
    wanted = [error[i, :n].mean() if n else torch.zeros(()) for i, n in enumerate(lengths)]
    torch.testing.assert_close(chunks.row_means(error, is_pad), torch.stack(wanted))
    spoiled = error.masked_fill(is_pad[..., None], 1e6)
    torch.testing.assert_close(chunks.masked_mean(spoiled, is_pad), chunks.masked_mean(error, is_pad))
    parts = [chunks.masked_mean(error[i : i + 1], is_pad[i : i + 1]) for i in range(len(lengths))]
    torch.testing.assert_close(torch.stack(parts).mean(), chunks.masked_mean(error, is_pad))


def test_prefixes() -> None:
    chunk, prefix = torch.randn(2, 3, 5, 4), torch.randn(2, 2, 4)
    held = chunks.with_prefix(chunk, prefix)
    assert torch.equal(held[:, 1, :2], prefix)
    assert torch.equal(held[:, :, 2:], chunk[:, :, 2:])
    chunks.check_prefix(prefix, horizon=2, action_size=4)
    for horizon, size in ((1, 4), (5, 3)):
        with pytest.raises(SpecMismatchError, match=r"\[2, 2, 4\]"):
            chunks.check_prefix(prefix, horizon=horizon, action_size=size)
