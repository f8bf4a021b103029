"""Images to vectors, feature maps or tokens: a small CNN for 84 px, a ResNet-18, or a pretrained model.

Group norm instead of batch norm, so that a row does not depend on its neighbours and averaged weights work
(Chi et al. 2023, arXiv:2303.04137). Spatial softmax (Levine et al. 2016, arXiv:1504.00702) reads each channel
of the map as one image point: the right prior for "where is it". Weights start at random, but for those of a
pretrained model, which is trained further unless it is frozen: Chi et al. compare both, to the disadvantage
of the frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from robopolicy.core.bases import Base, OnBase
from robopolicy.core.errors import ConfigError, UnknownNameError
from robopolicy.core.plain import read_json
from robopolicy.core.spec import Image
from robopolicy.nn.pretrained import Unseen, is_folder, load, understood
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
            hint = "; a pretrained model's folder is written with a slash, ./name"
            raise UnknownNameError("vision trunk", trunk, list(TRUNKS), hint)
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


class PretrainedMap(OnBase):
    """Frames to the map of features that a pretrained model makes of them.

    A frame is resized whole to the size of the model's own images: to cut out its middle, as their classes
    do, would cut off what a robot reaches for.

    Args:
        folder: of the model, see `nn.pretrained`; ResNet, ConvNeXt, ViT, DINOv2, CLIP, SigLIP and alike.
        frozen: whether its weights stay as they are; then they are in no group and no checkpoint.

    Attributes:
        shape: (D, h', w') of the map.
        channels: of its images.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, folder: str, frozen: bool) -> None:
        super().__init__()
        self.base = Base.of(folder)
        self.size, mean, std = _preprocessing(Path(folder, "preprocessor_config.json"))
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.channels = len(self.mean)
        black = torch.zeros(1, self.channels, *self.size)
        model, features = load(folder, "vision", lambda model: self._features(model, black), frozen=frozen)
        self.shape = tuple(features.shape[1:])
        self._unseen = Unseen(model) if frozen else None
        self.model = None if frozen else model

    def forward(self, frames: Shaped[Tensor, "B C h w"]) -> Float[Tensor, "B D h_map w_map"]:
        """The maps of `frames`, which are uint8, or float in [0, 1]."""
        pixels = frames.float() if frames.is_floating_point() else frames.float() / 255
        pixels = F.interpolate(pixels, self.size, mode="bilinear", antialias=True)
        pixels = (pixels - self.mean) / self.std
        if self._unseen is None:
            return self._features(self.model, pixels)
        model = self._unseen.value
        if next(model.parameters()).device != pixels.device:  # `Module.to` does not see it either
            model.to(pixels.device)
        with torch.no_grad():
            return self._features(model, pixels)

    def train(self, mode: bool = True) -> PretrainedMap:
        """The model stays in eval mode, see `nn.pretrained`."""
        super().train(mode)
        if self.model is not None:
            self.model.eval()
        return self

    @staticmethod
    def _features(model: Any, pixels: Float[Tensor, "B C h w"]) -> Float[Tensor, "B D h_map w_map"]:
        """What the model's last layer says, as a map: tokens of patches in their places, others left out."""
        features = model(pixel_values=pixels).last_hidden_state
        if features.ndim == 4:
            return features
        height, width = (size // model.config.patch_size for size in pixels.shape[-2:])
        if features.shape[1] < height * width:
            raise ValueError(f"a {type(model).__name__} gives no token for each patch")
        patches = features[:, features.shape[1] - height * width :]  # a class's and registers come before
        return patches.transpose(1, 2).unflatten(2, (height, width))


def _preprocessing(path: Path) -> tuple[tuple[int, int], list[float], list[float]]:
    """Height and width, means and deviations, in the several ways in which such files have said them."""
    said = read_json(path)
    if lacking := {"size", "image_mean", "image_std"} - said.keys():
        raise ConfigError(f"{path} does not say {sorted(lacking)}; give it as the model's images were made")
    with understood(str(path.parent)):
        size = said["crop_size"] if said.get("do_center_crop") else said["size"]
        edges = size if isinstance(size, dict) else {"shortest_edge": size}
        height, width = (edges[each if each in edges else "shortest_edge"] for each in ("height", "width"))
        mean, std = said["image_mean"], said["image_std"]
        if not said.get("do_normalize", True):
            mean, std = [0.0] * len(mean), [1.0] * len(std)
        return (int(height), int(width)), [float(each) for each in mean], [float(each) for each in std]


def feature_maps(
    images: Iterable[Image], *, trunk: str, frozen: bool = False
) -> Iterator[FeatureMap | PretrainedMap]:
    """A map of features for each of some cameras, with weights of its own unless they are frozen.

    Args:
        images: sizes of the frames.
        trunk: `cnn`, `resnet18`, or the folder of a pretrained model, with a slash.
        frozen: whether a pretrained model stays as it is.
    """
    if frozen and not is_folder(trunk):
        raise ConfigError(
            f"vision_frozen is true, but vision is '{trunk}', whose weights start at random; "
            "give vision a pretrained model's folder, or leave vision_frozen out"
        )
    shared = None
    for image in images:
        if not is_folder(trunk):
            yield FeatureMap(image=image, trunk=trunk)
            continue
        made = shared or PretrainedMap(folder=trunk, frozen=frozen)
        shared = made if frozen else None
        if image.channels != made.channels:
            raise ConfigError(f"{trunk} sees {made.channels} channels, the camera has {image.channels}")
        yield made


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
        features: makes the maps.
        width: of the vector.
        points: of an image, found in a pretrained model's map by a layer of their own: its channels were not
            made to be points, and a frozen model's will not become so.
    """

    def __init__(self, *, features: FeatureMap | PretrainedMap, width: int, points: int = 64) -> None:
        super().__init__()
        self.map = features
        depth, height, breadth = features.shape
        pretrained = isinstance(features, PretrainedMap)
        self.select = nn.Conv2d(depth, points, 1) if pretrained else nn.Identity()
        self.pool = SpatialSoftmax(height=height, width=breadth)
        self.head = nn.Linear(2 * (points if pretrained else depth), width)

    def forward(self, frames: Shaped[Tensor, "B C h w"]) -> Float[Tensor, "B width"]:
        """The vectors of `frames`, which are uint8, or float in [0, 1]."""
        return self.head(self.pool(self.select(self.map(frames))))


class ImageTokens(nn.Module):
    """Frames of cameras of one size to tokens.

    Args:
        features: makes the maps.
        sources: cameras times history steps.
        width: of a token.
        patch: side, in features, of the square that makes one token.

    Attributes:
        count: of tokens, all sources together.
    """

    layout: Tensor

    def __init__(self, *, features: FeatureMap | PretrainedMap, sources: int, width: int, patch: int) -> None:
        super().__init__()
        self.map = features
        depth, height, breadth = features.shape
        height, breadth = height // patch, breadth // patch
        if not height * breadth:
            raise ConfigError(
                f"a {features.shape[1]} x {features.shape[2]} map of features holds no patch of {patch}"
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
