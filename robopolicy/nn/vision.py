"""Images to vectors, feature maps or tokens: a small CNN for 84 px and a ResNet-18, both with group norm.

Group norm instead of batch norm, so that a row does not depend on its neighbours and averaged weights work
(Chi et al. 2023, arXiv:2303.04137). Spatial softmax (Levine et al. 2016, arXiv:1504.00702) reads each channel
of the map as one image point: the right prior for "where is it". Weights start at random; none are fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from robopolicy.core.errors import ConfigError, UnknownNameError
from robopolicy.core.spec import Image
from robopolicy.nn.transformer import sinusoids_2d


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.GroupNorm(outputs // 16, outputs),
    )


def small_cnn(channels: int) -> nn.Sequential:
    """Three strided convolutions, `[B C h w]` to `[B 64 h/8 w/8]`; 24 k parameters.

    Narrow where the map is large: a step of training on a CPU is little else than these convolutions.
    """
    return nn.Sequential(
        *(_conv(channels, 16, 5, 2), nn.ReLU(inplace=True)),
        *(_conv(16, 32, 3, 2), nn.ReLU(inplace=True)),
        *(_conv(32, 64, 3, 2), nn.ReLU(inplace=True)),
    )


class _Block(nn.Module):
    """The basic residual block of He et al. 2015 (arXiv:1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _conv(inputs, outputs, 3, stride)
        self.second = _conv(outputs, outputs, 3, 1)
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else _conv(inputs, outputs, 1, stride)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C_out h_out w_out"]:
        """A map to a map that is smaller by the stride."""
        return F.relu(self.second(F.relu(self.first(x))) + self.skip(x))


def resnet18(channels: int) -> nn.Sequential:
    """ResNet-18 without its head, `[B C h w]` to `[B 512 h/32 w/32]`; 11.2 M parameters."""
    widths = (64, 64, 128, 256, 512)
    stages = [
        block
        for i, (inputs, outputs) in enumerate(pairwise(widths))
        for block in (_Block(inputs, outputs, 1 if i == 0 else 2), _Block(outputs, outputs, 1))
    ]
    return nn.Sequential(_conv(channels, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1), *stages)


# name: (builder, width of the map, how often it halves the image)
TRUNKS: dict[str, tuple[Callable[[int], nn.Sequential], int, int]] = {
    "cnn": (small_cnn, 64, 3),
    "resnet18": (resnet18, 512, 5),
}


class FeatureMap(nn.Module):
    """Frames to a map of features.

    Args:
        image: size of the frames.
        trunk: `cnn` or `resnet18`.

    Attributes:
        shape: (D, h', w') of the map.
    """

    def __init__(self, *, image: Image, trunk: str = "cnn") -> None:
        super().__init__()
        if trunk not in TRUNKS:
            raise UnknownNameError("vision trunk", trunk, list(TRUNKS))
        build, width, halvings = TRUNKS[trunk]
        self.trunk = build(image.channels)
        height, breadth = image.height, image.width
        for _ in range(halvings):
            height, breadth = (height + 1) // 2, (breadth + 1) // 2
        self.shape = (width, height, breadth)

    def forward(self, frames: Shaped[Tensor, "B C h w"]) -> Float[Tensor, "B D h_map w_map"]:
        """The maps of `frames`, which are uint8, or float in [0, 1]."""
        # To [-1, 1]. Integers are converted here, on the device, so that frames travel as bytes; channels go
        # innermost, which convolutions take faster (ResNet-18, one frame, one thread: 25 to 20 ms).
        scale = 2.0 if frames.is_floating_point() else 2.0 / 255.0
        dtype = next(self.parameters()).dtype
        return self.trunk(frames.to(dtype=dtype, memory_format=torch.channels_last) * scale - 1.0)


class SpatialSoftmax(nn.Module):
    """Expected image point of each channel, in [-1, 1].

    Args:
        height, width: of the map.
    """

    points: Tensor

    def __init__(self, *, height: int, width: int) -> None:
        super().__init__()
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        self.register_buffer("points", torch.stack([x.flatten(), y.flatten()], -1), persistent=False)
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Float[Tensor, "B D h w"]) -> Float[Tensor, "B 2*D"]:
        """x and y of each channel, one channel after the other."""
        weight = (maps.flatten(2) * torch.exp(-self.log_temperature)).softmax(-1)
        return (weight @ self.points).flatten(1)


class ImageEncoder(nn.Module):
    """Frames to one vector each.

    Args:
        image: size of the frames.
        width: of the vector.
        trunk: `cnn` or `resnet18`.
    """

    def __init__(self, *, image: Image, width: int, trunk: str = "cnn") -> None:
        super().__init__()
        self.map = FeatureMap(image=image, trunk=trunk)
        depth, height, breadth = self.map.shape
        self.pool = SpatialSoftmax(height=height, width=breadth)
        self.head = nn.Linear(2 * depth, width)

    def forward(self, frames: Shaped[Tensor, "B C h w"]) -> Float[Tensor, "B width"]:
        """The vectors of `frames`, which are uint8, or float in [0, 1]."""
        return self.head(self.pool(self.map(frames)))


class ImageTokens(nn.Module):
    """Frames of cameras of one size to tokens.

    Args:
        image: size of the frames.
        sources: cameras times history steps.
        width: of a token.
        trunk: `cnn` or `resnet18`.
        patch: side, in features, of the square that makes one token.

    Attributes:
        count: of tokens, all sources together.
    """

    layout: Tensor

    def __init__(self, *, image: Image, sources: int, width: int, trunk: str, patch: int) -> None:
        super().__init__()
        self.map = FeatureMap(image=image, trunk=trunk)
        depth, height, breadth = self.map.shape
        height, breadth = height // patch, breadth // patch
        if not height * breadth:
            raise ConfigError(
                f"a {self.map.shape[1]} x {self.map.shape[2]} map of features holds no patch of {patch}"
            )
        self.project = nn.Conv2d(depth, width, patch, patch)
        self.register_buffer("layout", sinusoids_2d(height, breadth, width), persistent=False)
        self.source = nn.Parameter(0.02 * torch.randn(sources, 1, width))
        self.count = sources * height * breadth

    def forward(self, frames: Shaped[Tensor, "B K T C h w"]) -> Float[Tensor, "B {self.count} D"]:
        """The tokens of `frames`, which are uint8, or float in [0, 1]."""
        tokens = self.project(self.map(frames.flatten(0, 2)))
        return tokens.flatten(2).transpose(1, 2).reshape(len(frames), self.count, -1)

    def positions(self) -> Float[Tensor, "{self.count} D"]:
        """Of the tokens: place in the frame, and source."""
        return (self.layout + self.source).flatten(0, 1)
