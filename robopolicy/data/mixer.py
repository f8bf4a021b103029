"""Batches from several sources in fixed proportions, for example offline data beside a replay buffer.

Half offline, half online is the symmetric sampling of RLPD (Ball et al. 2023, arXiv 2302.02948).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from robopolicy.core.errors import ConfigError
from robopolicy.core.types import Array, Batch, Observation, Window
from robopolicy.data.sampler import Sampler
from robopolicy.data.store import Rows


class Mixer:
    """Draws each batch from several sources; like a `Sampler`, a pure function of (seed, step).

    Args:
        stores: the sources; they share their state, action, cameras and columns.
        fractions: of the batch, one per source; normalised. Every batch has the same numbers of rows.
        windows: by name; the first is the batch itself.
        batch_size: B.
        seed: of the run; each source gets a stream of its own.

    `extra["store"]` says from which source a row comes, since `index` counts within it.

    Raises:
        ConfigError: the fractions do not fit the sources or leave one without a row.
    """

    def __init__(
        self,
        *,
        stores: Sequence[Rows],
        fractions: Sequence[float],
        windows: Mapping[str, Window],
        batch_size: int,
        seed: int,
    ) -> None:
        if len(fractions) != len(stores) or not stores or min(fractions) <= 0:
            raise ConfigError(
                f"fractions are {list(fractions)} for {len(stores)} sources; give one positive number each"
            )
        self.batch_size = batch_size
        self.counts = _counts(np.asarray(fractions, dtype=np.float64), batch_size)
        if 0 in self.counts:
            raise ConfigError(
                f"fractions {list(fractions)} of a batch of {batch_size} leave a source without a row; "
                "raise batch_size"
            )
        self._samplers = [
            Sampler(store=store, windows=windows, batch_size=count, seed=_stream(seed, number))
            for number, (store, count) in enumerate(zip(stores, self.counts, strict=True))
        ]

    def batch(self, step: int) -> Batch:
        """The batch of training step `step`; rows of one source lie together, in the sources' order."""
        mixed = concatenate([sampler.batch(step) for sampler in self._samplers])
        store = np.repeat(np.arange(len(self.counts)), self.counts)
        return replace(mixed, extra={**mixed.extra, "store": store})


def _counts(fractions: np.ndarray, batch_size: int) -> list[int]:
    """Whole rows by largest remainder."""
    exact = fractions / fractions.sum() * batch_size
    counts = np.floor(exact).astype(int)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: batch_size - counts.sum()]] += 1
    return counts.tolist()


def _stream(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Put batches of one kind on top of each other; noise is dropped, it belongs to the single batch."""
    first = batches[0]

    def arrays(values: Sequence[Array]) -> Array:
        return None if values[0] is None else np.concatenate(values)

    def observations(values: Sequence[Observation | None]) -> Observation | None:
        seen = [value for value in values if value is not None]
        if not seen:
            return None
        return Observation(
            state=arrays([obs.state for obs in seen]),
            images={name: arrays([obs.images[name] for obs in seen]) for name in seen[0].images},
            text=None if seen[0].text is None else tuple(t for obs in seen for t in obs.text or ()),
        )

    obs = observations([batch.obs for batch in batches])
    assert obs is not None
    return Batch(
        obs=obs,
        action=arrays([batch.action for batch in batches]),
        is_pad=arrays([batch.is_pad for batch in batches]),
        reward=arrays([batch.reward for batch in batches]),
        discount=arrays([batch.discount for batch in batches]),
        next_obs=observations([batch.next_obs for batch in batches]),
        extra={name: arrays([batch.extra[name] for batch in batches]) for name in first.extra},
        index=arrays([batch.index for batch in batches]),
        views={name: concatenate([batch.views[name] for batch in batches]) for name in first.views},
    )
