"""The conditional 1-D U-Net of Diffusion Policy (Chi et al. 2023, arXiv:2303.04137), laid out for speed.

Residual blocks of convolution, group norm and Mish along the steps of the chunk; time and observation scale
and shift the channels of every block (FiLM, Perez et al. 2017, arXiv:1709.07871).

The function is the paper's; what differs is how it is computed.

- Steps are the last axis of an image of height 1 with channels innermost, so that a chunk `[H A]` needs no
  transposition and oneDNN takes its fast paths (1-D convolutions have no such layout). Weights lie in memory
  as their gradients come out, and these are K plain matrix products, which oneDNN's own are slower than.
- The FiLM parameters of all blocks come from one matrix. Its two parts, for the time and for the observation,
  are multiplied apart, so that the candidates of a row share the observation's.
- On a CPU, Mish is written with one sigmoid instead of the exp, log1p and tanh of the library's kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from robopolicy.core.errors import ConfigError
from robopolicy.core.ranges import in_range
from robopolicy.nn.mlp import TimeFeatures, mlp


class _Mish(torch.autograd.Function):
    """x tanh(softplus(x)) = x w with w = (1 - q) / (1 + q), q = sigmoid(-x)^2; w' = (1 - w^2) sigmoid(x)."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[override]
        w = _mish_weight(x)
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:  # type: ignore[override]
        x, w = ctx.saved_tensors
        slope = torch.addcmul(w.new_ones(()), w, w, value=-1).mul_(torch.sigmoid(x)).mul_(x)
        return slope.add_(w).mul_(grad)


def _mish_weight(x: Tensor) -> Tensor:
    q = torch.sigmoid(-x).square_()
    return (1 - q).div_(q.add_(1))


def mish(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The activation of Misra 2019 (arXiv:1908.08681); same bits with and without gradients."""
    if x.device.type != "cpu":
        return F.mish(x)
    return _Mish.apply(x) if torch.is_grad_enabled() else _mish_weight(x).mul_(x)  # type: ignore[return-value]


class _Conv(torch.autograd.Function):
    """The convolution of `Conv`; the weight's gradient is one small matrix product for each of its K taps."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx, x: Tensor, weight: Tensor, bias: Tensor, stride: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return _convolve(x, weight, bias, stride)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        outputs, taps, inputs = weight.shape
        stride, margin = ctx.stride, taps // 2
        grad_x = None
        if ctx.needs_input_grad[0]:
            geometry = ([1, stride], [0, margin], [1, 1], False, [0, 0], 1)
            grad_x = torch.ops.aten.convolution_backward(
                grad, x, _as_image(weight), None, *geometry, [True, False, False]
            )[0]
        rows = grad.squeeze(2).transpose(1, 2)  # [R H' O]
        if not ctx.needs_input_grad[1]:
            return grad_x, None, rows.sum((0, 1)), None
        frames = x.squeeze(2).transpose(1, 2)  # [R H C]
        grad_weight = torch.empty_like(weight)
        for tap in range(taps):
            first = (
                tap - margin
            )  # the frame that this tap reads for row 0; rows that read padding are left out
            start = -(min(first, 0) // stride)
            stop = min(rows.shape[1], (frames.shape[1] - 1 - first) // stride + 1)
            read = frames[:, first + stride * start : first + stride * stop : stride]
            torch.mm(
                rows[:, start:stop].reshape(-1, outputs).t(),
                read.reshape(-1, inputs),
                out=grad_weight[:, tap],
            )
        return grad_x, grad_weight, rows.sum((0, 1)), None


def _as_image(weight: Tensor) -> Tensor:
    """`[O K C]` to the `[O C 1 K]` that a 2-D convolution wants, without moving a number."""
    return weight.transpose(1, 2).unsqueeze(2)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    return F.conv2d(x, _as_image(weight), bias, (1, stride), (0, weight.shape[1] // 2))


class Conv(nn.Module):
    """A convolution along the steps of `[R C 1 H]` that keeps H, or halves it by a stride of 2.

    Args:
        inputs, outputs: channels.
        kernel: odd, in steps.
        stride: in steps.
    """

    def __init__(self, *, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        bound = (inputs * kernel) ** -0.5  # as nn.Conv1d starts
        self.weight = nn.Parameter(torch.empty(outputs, kernel, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "R C 1 H"]) -> Float[Tensor, "R C_out 1 H/{self.stride}"]:
        """`x`, convolved."""
        fast = x.device.type == "cpu" and torch.is_grad_enabled()
        run = _Conv.apply if fast else _convolve
        return run(x, self.weight, self.bias, self.stride)  # type: ignore[return-value]


class Grow(nn.Module):
    """The transposed convolution of kernel 4 and stride 2 that doubles H.

    Args:
        channels: in and out.
    """

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        bound = (4 * channels) ** -0.5  # as nn.ConvTranspose1d starts
        self.weight = nn.Parameter(torch.empty(channels, 4, channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "R C 1 H"]) -> Float[Tensor, "R C 1 2*H"]:
        """`x`, with twice the steps."""
        return F.conv_transpose2d(x, _as_image(self.weight), self.bias, (1, 2), (0, 1))


class Block(nn.Module):
    """Two convolutions with FiLM between them, and a residual.

    Args:
        inputs, outputs: channels.
        kernel: odd, in steps.
        groups: of the norms; must divide `outputs`.
    """

    def __init__(self, *, inputs: int, outputs: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.first = Conv(inputs=inputs, outputs=outputs, kernel=kernel)
        self.second = Conv(inputs=outputs, outputs=outputs, kernel=kernel)
        self.first_norm, self.second_norm = nn.GroupNorm(groups, outputs), nn.GroupNorm(groups, outputs)
        self.skip = nn.Identity() if inputs == outputs else Conv(inputs=inputs, outputs=outputs, kernel=1)

    def forward(
        self, x: Float[Tensor, "R C 1 H"], film: Float[Tensor, "R 2*{self.outputs}"]
    ) -> Float[Tensor, "R {self.outputs} 1 H"]:
        """The block's output, where `film` is the scales, then the shifts."""
        scale, shift = film[:, :, None, None].chunk(2, dim=1)
        hidden = torch.addcmul(shift, mish(self.first_norm(self.first(x))), scale)
        return mish(self.second_norm(self.second(hidden))) + self.skip(x)


class UNet1d(nn.Module):
    """A network on noisy chunks: predicts whatever it is trained on, in the shape of the chunk.

    Args:
        action_size, horizon: of a chunk; the horizon must be a multiple of 2^(levels - 1).
        context_size: of the condition.
        widths: channels of each level, outermost first; each level after the first has half the steps.
        kernel: odd, in steps.
        groups: of the norms; must divide every width.
        time_width: of the time's features.
        context_hidden: widths of hidden layers between the condition and the FiLM parameters; none in the
            paper, whose condition comes from a network already.
    """

    def __init__(
        self,
        *,
        action_size: int,
        horizon: int,
        context_size: int,
        widths: Sequence[int] = (64, 128, 256),
        kernel: int = 5,
        groups: int = 8,
        time_width: int = 128,
        context_hidden: Sequence[int] = (),
    ) -> None:
        super().__init__()
        in_range("UNet1d", least=1, kernel=kernel, groups=groups, time_width=time_width)
        in_range("UNet1d", least=1, **{f"widths[{i}]": width for i, width in enumerate(widths)})
        in_range("UNet1d", least=1, **{f"context_hidden[{i}]": size for i, size in enumerate(context_hidden)})
        multiple = 2 ** (len(widths) - 1)
        if horizon % multiple:
            raise ConfigError(
                f"a U-Net of {len(widths)} levels halves the chunk {len(widths) - 1} times, and horizon "
                f"{horizon} is no multiple of {multiple}; take "
                f"{horizon + -horizon % multiple}, or fewer levels"
            )
        if any(width % groups for width in widths):
            raise ConfigError(f"groups {groups} does not divide all of widths {list(widths)}")

        def block(inputs: int, outputs: int) -> Block:
            return Block(inputs=inputs, outputs=outputs, kernel=kernel, groups=groups)

        levels = list(pairwise([action_size, *widths]))
        self.down = nn.ModuleList(m for i, o in levels for m in (block(i, o), block(o, o)))
        self.shrink = nn.ModuleList(
            Conv(inputs=width, outputs=width, kernel=3, stride=2) for width in widths[:-1]
        )
        self.middle = nn.ModuleList(block(widths[-1], widths[-1]) for _ in range(2))
        self.up = nn.ModuleList(m for i, o in levels[:0:-1] for m in (block(2 * o, i), block(i, i)))
        self.grow = nn.ModuleList(Grow(channels=width) for width in widths[-2::-1])
        self.last = Conv(inputs=widths[0], outputs=widths[0], kernel=kernel)
        self.last_norm = nn.GroupNorm(groups, widths[0])
        self.head = Conv(inputs=widths[0], outputs=action_size, kernel=1)

        blocks = [m for group in (self.down, self.middle, self.up) for m in group if isinstance(m, Block)]
        self._film_sizes = [2 * m.outputs for m in blocks]
        self.time = nn.Sequential(
            TimeFeatures(width=time_width),
            nn.Linear(time_width, 4 * time_width),
            nn.Mish(),
            nn.Linear(4 * time_width, time_width),
            nn.Mish(),
            film := nn.Linear(time_width, sum(self._film_sizes)),
        )
        with torch.no_grad():  # scales begin around 1, shifts around 0: a start without signal learns slowly
            for part in film.bias.split(self._film_sizes):
                scale, shift = part.chunk(2)
                scale.fill_(1)
                shift.zero_()
        front = mlp([context_size, *context_hidden], activate_last=True) if context_hidden else nn.Mish()
        features = context_hidden[-1] if context_hidden else context_size
        self.context = nn.Sequential(front, nn.Linear(features, sum(self._film_sizes), bias=False))

    def forward(
        self, x: Float[Tensor, "B N H A"], t: Float[Tensor, "B N"], ctx: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B N H A"]:
        """Chunks `x` at times `t` given the observation's `ctx`."""
        films = iter((self.time(t) + self.context(ctx)[:, None]).flatten(0, 1).split(self._film_sizes, -1))
        levels = len(self.shrink) + 1
        h = x.flatten(0, 1).transpose(1, 2).unsqueeze(2)
        skips = []
        for level in range(levels):
            for block in self.down[2 * level : 2 * level + 2]:
                h = block(h, next(films))
            skips.append(h)
            h = self.shrink[level](h) if level < levels - 1 else h
        for block in self.middle:
            h = block(h, next(films))
        for level, grow in enumerate(self.grow):
            h = torch.cat([h, skips.pop()], dim=1)
            for block in self.up[2 * level : 2 * level + 2]:
                h = block(h, next(films))
            h = grow(h)
        h = self.head(mish(self.last_norm(self.last(h))))
        return h.squeeze(2).transpose(1, 2).reshape(x.shape)
