"""Random numbers keyed by row, so that a result does not depend on how rows were grouped into batches.

`StepNoise` serves training: one stream per (seed, step), of which micro-batches and ranks take their own
rows.
`EpisodeNoise` serves acting: one stream per (episode seed, control step), whatever else is evaluated beside
it. Neither keeps a state that a checkpoint would have to save.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

_ACTING = 0xAC


class StepNoise:
    """Noise of rows `start .. stop` of a batch of `total` rows at one training step.

    Args:
        seed: of the run.
        step: of the trainer.
        total: rows in the whole batch, over all micro-batches and ranks.
        start, stop: the rows of this part.
        device: where the numbers are made.
    """

    def __init__(
        self,
        *,
        seed: int,
        step: int,
        total: int,
        start: int = 0,
        stop: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.total, self.start, self.stop = total, start, total if stop is None else stop
        self._generator = torch.Generator(device=device)
        self._generator.manual_seed(
            int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)
        )

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal of `shape`; `shape[0]` must be the number of rows of this part."""
        full = torch.randn(self._whole(shape), generator=self._generator, device=self._generator.device)
        return full[self.start : self.stop]

    def uniform(self, *shape: int) -> torch.Tensor:
        """Uniform on [0, 1) of `shape`; `shape[0]` must be the number of rows of this part."""
        full = torch.rand(self._whole(shape), generator=self._generator, device=self._generator.device)
        return full[self.start : self.stop]

    def _whole(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if shape[0] != self.stop - self.start:
            raise ValueError(
                f"noise was asked for {shape[0]} rows, but this batch has {self.stop - self.start}"
            )
        return (self.total, *shape[1:])


class EpisodeNoise:
    """Noise of B episodes at their own control steps.

    Args:
        seeds: one per row.
        ticks: the control step of each row.
        device: where the numbers are wanted.
    """

    def __init__(
        self, *, seeds: Sequence[int], ticks: Sequence[int], device: str | torch.device = "cpu"
    ) -> None:
        # The constant keeps the stream of (seed, 0) apart from that of `seed`, from which an environment
        # draws its initial state: numpy takes trailing zeros for nothing.
        self._rows = [
            np.random.default_rng([seed, tick, _ACTING]) for seed, tick in zip(seeds, ticks, strict=True)
        ]
        self._device = device

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal of `shape`; `shape[0]` must be the number of rows."""
        rows = [rng.standard_normal(shape[1:], dtype=np.float32) for rng in self._checked(shape)]
        return torch.from_numpy(np.stack(rows)).to(self._device)

    def uniform(self, *shape: int) -> torch.Tensor:
        """Uniform on [0, 1) of `shape`; `shape[0]` must be the number of rows."""
        rows = [rng.random(shape[1:], dtype=np.float32) for rng in self._checked(shape)]
        return torch.from_numpy(np.stack(rows)).to(self._device)

    def _checked(self, shape: tuple[int, ...]) -> list[np.random.Generator]:
        if shape[0] != len(self._rows):
            raise ValueError(f"noise was asked for {shape[0]} rows, but there are {len(self._rows)} episodes")
        return self._rows
