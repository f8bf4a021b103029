"""Sizes that no network can have are refused by name, before a tensor is made."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from robopolicy.core.errors import ConfigError
from robopolicy.nn.dit import DiT
from robopolicy.nn.mlp import ChunkMLP, ChunkResNet
from robopolicy.nn.transformer import Attention
from robopolicy.nn.unet1d import UNet1d

CHUNK = {"action_size": 2, "horizon": 8, "context_size": 3}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Attention(width=8, heads=0), "Attention: heads is 0"),
        (lambda: DiT(**CHUNK, depth=-1), "DiT: depth is -1"),
        (lambda: UNet1d(**CHUNK, groups=0), "UNet1d: groups is 0"),
        (lambda: UNet1d(**CHUNK, widths=[8, -8]), r"UNet1d: widths\[1\] is -8"),
        (lambda: ChunkMLP(**CHUNK, hidden=[0]), r"ChunkMLP: hidden\[0\] is 0"),
        (lambda: ChunkResNet(**CHUNK, blocks=-2), "ChunkResNet: blocks is -2"),
    ],
)
def test_a_size_that_cannot_be(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError, match=f"{said}; it must be at least 1"):
        make()
