import math

import pytest
import torch
from torch import nn

from robopolicy.core.errors import ConfigError
from robopolicy.nn.transformer import Attention, Decoder, Encoder, sinusoids, sinusoids_2d

SIZES = {"width": 16, "heads": 4, "hidden": 24, "dropout": 0.0}
THEIRS = {"d_model": 16, "nhead": 4, "dim_feedforward": 24, "dropout": 0.0, "batch_first": True}


def copy_attention(theirs: nn.MultiheadAttention, ours: Attention) -> None:
    parts = (ours.query, ours.key, ours.value)
    theirs.in_proj_weight.data = torch.cat([part.weight for part in parts]).detach()
    theirs.in_proj_bias.data = torch.cat([part.bias for part in parts]).detach()
    theirs.out_proj.load_state_dict(ours.out.state_dict())


def copy_rest(theirs: nn.Module, ours) -> None:
    theirs.get_submodule("linear1").load_state_dict(ours.up.state_dict())
    theirs.get_submodule("linear2").load_state_dict(ours.down.state_dict())
    for i, norm in enumerate(ours.norms):
        nn.init.uniform_(norm.weight)
        theirs.get_submodule(f"norm{i + 1}").load_state_dict(norm.state_dict())


def test_encoder_is_torchs_and_may_stop_at_the_first_token():
    torch.manual_seed(0)
    ours = Encoder(layers=2, **SIZES)
    theirs = [nn.TransformerEncoderLayer(**THEIRS) for _ in range(2)]
    for mine, other in zip(ours.layers, theirs, strict=True):
        copy_attention(other.self_attn, mine.attention)
        copy_rest(other, mine.rest)
    x = torch.randn(3, 7, 16)
    is_pad = torch.arange(7) >= torch.tensor([[7], [4], [1]])
    want = x
    for layer in theirs:
        want = layer(want, src_key_padding_mask=is_pad)
    got = ours(x, torch.zeros(7, 16), is_pad)
    torch.testing.assert_close(got[~is_pad], want[~is_pad])
    torch.testing.assert_close(ours(x, torch.zeros(7, 16), is_pad, first_only=True), got[:, :1])


def test_decoder_is_torchs_though_it_starts_with_one_row():
    torch.manual_seed(0)
    ours = Decoder(length=5, layers=2, **SIZES)
    theirs = [nn.TransformerDecoderLayer(**THEIRS) for _ in range(2)]
    for mine, other in zip(ours.layers, theirs, strict=True):
        copy_attention(other.self_attn, mine.own)
        copy_attention(other.multihead_attn, mine.cross)
        copy_rest(other, mine.rest)
    nn.init.zeros_(ours.queries)  # torch's layers know no positions
    memory = torch.randn(3, 7, 16)
    want = torch.zeros(3, 5, 16)
    for layer in theirs:
        want = layer(want, memory)
    torch.testing.assert_close(ours(memory, torch.zeros(7, 16)), ours.norm(want))


def test_positions_reach_queries_and_keys_but_not_values():
    torch.manual_seed(0)
    encoder = Encoder(layers=1, **SIZES)
    x, positions = torch.randn(1, 4, 16), torch.randn(4, 16)
    order = torch.tensor([2, 0, 3, 1])
    placed = encoder(x, positions)
    torch.testing.assert_close(encoder(x[:, order], positions[order]), placed[:, order])
    assert (encoder(x[:, order], positions) - placed[:, order]).abs().max() > 1e-3
    alone = encoder(x[:, :1], positions[:1])  # one token attends to itself, wherever it is
    torch.testing.assert_close(alone, encoder(x[:, :1], positions[1:2]))


def test_sinusoids():
    line = sinusoids(6, 8)
    torch.testing.assert_close(line[3, :2], torch.tensor([math.sin(3), math.cos(3)]))
    torch.testing.assert_close(line[3, 4], torch.tensor(math.sin(3 / 100)))
    plane = sinusoids_2d(3, 5, 16)
    assert plane.shape == (15, 16)
    assert torch.cdist(plane, plane).fill_diagonal_(9.0).min() > 0.1  # no two places alike
    assert torch.equal(plane[0, :8], plane[4, :8])  # one row
    assert torch.equal(plane[1, 8:], plane[11, 8:])  # one column


def test_heads_divide_the_width():
    with pytest.raises(ConfigError, match="3 heads"):
        Attention(width=16, heads=3)
