"""Observations to one flat vector, the condition of every policy and critic that wants one.

The vector is the normalised state history, then the image features of each camera and step, then the text.
Each camera has an encoder of its own, through which all its history goes in one batched call: what tells
where a thing is differs between a camera on the hand and one beside the table.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from robopolicy.core.errors import SpecMismatchError
from robopolicy.core.ranges import in_range
from robopolicy.core.spec import Image, Spec
from robopolicy.core.types import Observation
from robopolicy.nn.language import text_embedding
from robopolicy.nn.vision import ImageEncoder, feature_maps


def camera_groups(spec: Spec) -> dict[Image, tuple[str, ...]]:
    """Cameras by image size, both in a fixed order."""
    groups: dict[Image, list[str]] = defaultdict(list)
    for name in sorted(spec.images):
        groups[spec.images[name]].append(name)
    return {image: tuple(names) for image, names in groups.items()}


def frames_of(obs: Observation, names: tuple[str, ...]) -> Shaped[Tensor, "B K T C h w"]:
    """The frames of K cameras of one size.

    Raises:
        SpecMismatchError: names a camera that the observation lacks.
    """
    missing = [name for name in names if name not in obs.images]
    if missing:
        raise SpecMismatchError(
            f"the network looks through cameras {missing}, the observation has {sorted(obs.images)}; "
            "observe with these cameras"
        )
    return torch.stack([obs.images[name] for name in names], dim=1)


def texts_of(obs: Observation) -> tuple[str, ...]:
    """The instructions; `SpecMismatchError` where the observation carries none."""
    if obs.text is None:
        raise SpecMismatchError(
            "the network wants an instruction, the observation has none; give text, one string per row"
        )
    return obs.text


class ContextEncoder(nn.Module):
    """Observation to one vector.

    Args:
        spec: says which of state, cameras and text there are.
        obs_steps: history length T.
        vision: `cnn`, `resnet18`, or the folder of a pretrained model, with a slash (see `nn.pretrained`).
        vision_frozen: whether a pretrained model's weights stay as they are.
        text: `words`, or the folder of a pretrained language model, with a slash; it stays as it is.
        text_dim: width of the instruction's part.
        image_dim: width of one frame's part.

    Attributes:
        width: of the vector.
    """

    def __init__(
        self,
        *,
        spec: Spec,
        obs_steps: int,
        vision: str = "cnn",
        vision_frozen: bool = False,
        text: str = "words",
        text_dim: int = 64,
        image_dim: int = 64,
    ) -> None:
        super().__init__()
        in_range("ContextEncoder", least=1, text_dim=text_dim, image_dim=image_dim)
        self._cameras = tuple(sorted(spec.images))
        sizes = [spec.images[name] for name in self._cameras]
        maps = feature_maps(sizes, trunk=vision, frozen=vision_frozen)
        self.images = nn.ModuleList(ImageEncoder(features=each, width=image_dim) for each in maps)
        self.text = text_embedding(text, width=text_dim) if spec.text else None
        self.width = obs_steps * (len(spec.state) + len(spec.images) * image_dim) + text_dim * spec.text

    def forward(self, obs: Observation, state: Float[Tensor, "B T S"]) -> Float[Tensor, "B width"]:
        """The vector of `obs`, whose `state` is already normalised."""
        parts = [state.flatten(1)]
        for name, encoder in zip(self._cameras, self.images, strict=True):
            frames = frames_of(obs, (name,))
            parts.append(encoder(frames.flatten(0, 2)).view(len(frames), -1))
        if self.text is not None:
            parts.append(self.text(texts_of(obs)))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
