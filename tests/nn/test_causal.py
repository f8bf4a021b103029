"""The past alone counts, and one token at a time gives what all at once give."""

from __future__ import annotations

import pytest
import torch

from robopolicy.core.errors import ConfigError
from robopolicy.nn.causal import CausalTransformer

SIZES = {"action_size": 2, "horizon": 3, "num_bins": 5, "context_size": 4}


def woken() -> CausalTransformer:
    """A head that starts at zero would make everything equal."""
    torch.manual_seed(0)
    network = CausalTransformer(**SIZES, width=16, depth=2, heads=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return network.eval()


@torch.no_grad()
def test_a_token_is_told_by_those_before_it_and_the_observation() -> None:
    network, ctx = woken(), torch.randn(1, 4)
    tokens = torch.randint(5, (1, 3, 2))
    logits = network(ctx, tokens).flatten(1, 2)
    for place in range(6):
        changed = tokens.flatten(1).clone()
        changed[:, place] = (changed[:, place] + 2) % 5
        moved = (network(ctx, changed.view(1, 3, 2)).flatten(1, 2) - logits).abs().amax(-1)[0]
        assert (moved[: place + 1] == 0).all()
        assert (moved[place + 1 :] > 1e-3).all()
    assert ((network(-ctx, tokens).flatten(1, 2) - logits).abs().amax(-1) > 1e-3).all()


@pytest.mark.parametrize("steps", [0, 1, 3])
@torch.no_grad()
def test_writing_token_by_token_is_what_the_whole_says(steps: int) -> None:
    network, ctx = woken(), torch.randn(2, 4)
    given = torch.randint(5, (2, steps, 2))
    seen: dict[int, torch.Tensor] = {}

    def pick(logits: torch.Tensor, place: int) -> torch.Tensor:
        seen[place] = logits
        return torch.arange(6) % 5  # another token for each of the three candidates

    tokens = network.generate(ctx, 3, pick, given)
    assert torch.equal(tokens[:, :, :steps], given[:, None].expand(-1, 3, -1, -1))
    whole = network(ctx.repeat_interleave(3, dim=0), tokens.flatten(0, 1)).flatten(1, 2)
    assert sorted(seen) == list(range(2 * steps, 6))
    for place, logits in seen.items():
        torch.testing.assert_close(logits, whole[:, place], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_what_candidates_share_is_computed_once() -> None:
    network, shapes = woken(), []
    network.blocks[0].register_forward_hook(lambda module, inputs, output: shapes.append(output.shape[:2]))
    network.generate(torch.randn(2, 4), 32, lambda logits, _: logits.argmax(-1), torch.zeros(2, 1, 2).long())
    assert shapes == [(2, 3), (64, 1), (64, 1), (64, 1)]


def test_untrained_it_knows_nothing_and_sizes_that_cannot_be_are_refused() -> None:
    network = CausalTransformer(**SIZES, width=16, depth=1, heads=2)
    assert network(torch.randn(2, 4), torch.randint(5, (2, 3, 2))).eq(0).all()
    with pytest.raises(ConfigError, match="3 heads"):
        CausalTransformer(**SIZES, width=16, heads=3)
    with pytest.raises(ConfigError, match="depth is 0"):
        CausalTransformer(**SIZES, depth=0)
