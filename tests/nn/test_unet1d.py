from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robopolicy.core.errors import ConfigError
from robopolicy.nn.unet1d import Conv, Grow, UNet1d, mish


def compare(
    mine: nn.Module, theirs: Callable[..., torch.Tensor], channels: int, rows: int, steps: int
) -> None:
    """The same numbers and the same gradients, whatever the layout."""
    weight = mine.weight.detach().transpose(1, 2).clone().requires_grad_()
    bias = mine.bias.detach().clone().requires_grad_()
    x = torch.randn(rows, channels, steps, requires_grad=True)
    want = theirs(x, weight, bias)
    image = x.detach().transpose(1, 2).contiguous().transpose(1, 2).unsqueeze(2).requires_grad_()
    got = mine(image)
    torch.testing.assert_close(got.squeeze(2), want)
    with torch.no_grad():
        assert torch.equal(mine(image), got)
    grad = torch.randn_like(want)
    wanted = torch.autograd.grad(want, (x, weight, bias), grad)
    ours = torch.autograd.grad(got, (image, mine.weight, mine.bias), grad.unsqueeze(2))
    torch.testing.assert_close(ours[0].squeeze(2), wanted[0])
    torch.testing.assert_close(ours[1].transpose(1, 2), wanted[1])
    torch.testing.assert_close(ours[2], wanted[2])


@pytest.mark.parametrize(
    ("rows", "steps", "inputs", "kernel", "stride"),
    [(3, 16, 6, 5, 1), (2, 2, 8, 5, 1), (20, 7, 3, 1, 1), (5, 8, 4, 3, 2), (1, 2, 4, 3, 2)],
)
def test_conv_is_the_librarys(rows, steps, inputs, kernel, stride):
    mine = Conv(inputs=inputs, outputs=4, kernel=kernel, stride=stride)
    compare(mine, partial(F.conv1d, stride=stride, padding=kernel // 2), inputs, rows, steps)


@pytest.mark.parametrize("steps", [1, 4])
def test_grow_is_the_librarys(steps):
    compare(Grow(channels=6), partial(F.conv_transpose1d, stride=2, padding=1), 6, 3, steps)


def test_mish_is_the_librarys_with_its_gradient():
    x = torch.cat([torch.linspace(-100, 100, 401), torch.linspace(-3, 3, 101)]).requires_grad_()
    (ours,) = torch.autograd.grad(mish(x).sum(), x)
    (theirs,) = torch.autograd.grad(F.mish(x).sum(), x)
    torch.testing.assert_close(mish(x), F.mish(x), atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize(("horizon", "widths"), [(16, (16, 32, 64)), (5, (16,)), (6, (8, 16))])
def test_rows_and_candidates_do_not_mix(horizon, widths):
    torch.manual_seed(0)
    net = UNet1d(action_size=3, horizon=horizon, context_size=7, widths=widths)
    x, t, ctx = torch.randn(2, 4, horizon, 3), torch.rand(2, 4), torch.randn(2, 7)
    out = net(x, t, ctx)
    assert out.shape == x.shape
    torch.testing.assert_close(net(x[1:, 2:3], t[1:, 2:3], ctx[1:]), out[1:, 2:3], atol=1e-5, rtol=1e-4)
    for name, other in (("t", net(x, t + 0.3, ctx)), ("ctx", net(x, t, ctx + 1)), ("x", net(x + 1, t, ctx))):
        assert (other - out).abs().flatten(2).amax(-1).min() > 1e-4, f"{name} is not seen"


def test_every_parameter_learns_and_a_frozen_network_guides():
    torch.manual_seed(0)
    net = UNet1d(action_size=3, horizon=8, context_size=7, widths=(16, 32))
    x, t, ctx = torch.randn(2, 1, 8, 3), torch.rand(2, 1), torch.randn(2, 7)
    net(x, t, ctx).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
    net.requires_grad_(False)
    (grad,) = torch.autograd.grad(net(x.requires_grad_(), t, ctx).sum(), x)
    assert grad.abs().amax(-1).min() > 0


def test_impossible_sizes_say_what_fits():
    with pytest.raises(ConfigError, match="take 20"):
        UNet1d(action_size=3, horizon=18, context_size=7)
    with pytest.raises(ConfigError, match="groups 8"):
        UNet1d(action_size=3, horizon=16, context_size=7, widths=(60,))
