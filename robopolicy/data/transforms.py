"""What is done to a batch between the data and the learner, in training only.

A transform is a function `(batch, random) -> batch` of numpy arrays; `Sampler` applies it with the generator
of the step, so that a resumed run sees the same batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from robopolicy.core.errors import ConfigError
from robopolicy.core.types import Batch, Observation

Transform = Callable[[Batch, np.random.Generator], Batch]


@dataclass(frozen=True, kw_only=True)
class RandomShift:
    """Moves the frames of each row up and down, left and right by whole pixels; edges are repeated.

    The augmentation of DrQ (Kostrikov et al. 2020, arXiv:2004.13649). All cameras, steps and views of a row
    move alike, and so does what it bootstraps from: only the row's place in the picture changes.

    Args:
        pixels: the farthest they move, either way.
    """

    pixels: int

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise ConfigError(f"image_shift is {self.pixels} pixels; it must not be negative")

    def __call__(self, batch: Batch, random: np.random.Generator) -> Batch:
        """The batch with its frames moved."""
        return self._moved(batch, *random.integers(0, 2 * self.pixels + 1, (2, len(batch))))

    def _moved(self, batch: Batch, down: np.ndarray, right: np.ndarray) -> Batch:
        def move(obs: Observation) -> Observation:
            return replace(obs, images={k: self._shift(v, down, right) for k, v in obs.images.items()})

        return replace(
            batch,
            obs=move(batch.obs),
            next_obs=None if batch.next_obs is None else move(batch.next_obs),
            views={name: self._moved(view, down, right) for name, view in batch.views.items()},
        )

    def _shift(self, frames: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Frames `[B T C h w]`, each row cut out of itself with a margin, from its own corner `[B]`."""
        margin = (self.pixels, self.pixels)
        wide = np.pad(frames, [(0, 0)] * 3 + [margin, margin], mode="edge")
        corners = np.lib.stride_tricks.sliding_window_view(wide, frames.shape[-2:], axis=(-2, -1))
        return corners[np.arange(len(frames)), :, :, down, right]
