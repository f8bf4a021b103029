"""Windows of episodes to batches, by array gathers only.

A batch is a pure function of (seed, step): the rows come from a counter-based generator (Philox) keyed by the
two, so a resumed run needs no sampler state. The rules, for a row t of an episode whose last row is T:

- rows are drawn uniformly; a chunk that runs past T repeats the last action, and `is_pad` says so;
- the span n is the bootstrap offset, cut at the episode's end. Where the task ended (termination) at T, the
  span may include step T and the discount is then 0. Where time ran out at T, the value beyond is not 0, and
  the last stored observation is that of T, so n <= T - t; row T itself has no successor and is not drawn;
- reward = sum_{i<n} gamma^i r_{t+i}, discount = gamma^n, target = reward + discount * value(next_obs).
- where the data have a column `next.mask`, episodes go on after the task is solved: a span over a step whose
  mask is 0 keeps its reward, has the discount 0, and is no padding (Q-chunking's rule for OGBench's play);
  the return to go ends at that step.

Following Q-chunking (Li et al. 2025, arXiv 2507.07969), a critic of whole chunks multiplies its loss with
`~is_pad[:, -1]`. That paper stores the observation after a time-out and uses gamma^h there; here the span is
one shorter at exactly that row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from robopolicy.core.errors import DatasetError
from robopolicy.core.types import Batch, Observation, Window
from robopolicy.data.store import MASK, Rows
from robopolicy.data.transforms import Transform


@cache
def _span_weights(bootstrap: int, discount: float) -> tuple[np.ndarray, np.ndarray]:
    """For each span n: the weights of the rewards within it, `[bootstrap + 1, bootstrap]`, and gamma^n."""
    powers = discount ** np.arange(bootstrap + 1)
    weights = np.tril(np.tile(powers[:-1], (bootstrap + 1, 1)), k=-1)
    return weights.astype(np.float32), powers.astype(np.float32)


class Sampler:
    """Draws batches of windows.

    Args:
        store: a `Store`, or a `Buffer` that may grow between batches.
        windows: by name; the first is the batch itself, the others are views on the same rows.
        batch_size: B.
        seed: of the run.
        transforms: applied to each batch that is drawn, in order.

    Raises:
        DatasetError: a window wants a column that the data lack.
    """

    def __init__(
        self,
        *,
        store: Rows,
        windows: Mapping[str, Window],
        batch_size: int,
        seed: int,
        transforms: Sequence[Transform] = (),
    ) -> None:
        self.store, self.windows, self.batch_size, self.seed = store, dict(windows), batch_size, seed
        self.transforms = tuple(transforms)
        missing = {c for w in self.windows.values() for c in w.columns} - store.columns.keys()
        if missing:
            raise DatasetError(
                f"the data have no columns {sorted(missing)} (they have {sorted(store.columns)}); "
                "annotate the dataset first"
            )
        self._with_next = any(w.bootstrap is not None or w.sequence is not None for w in windows.values())

    def batch(self, step: int) -> Batch:
        """The batch of training step `step`."""
        anchors = self.store.anchors(with_next=self._with_next)
        if not len(anchors):
            raise DatasetError("the data hold no row to train on; record longer episodes first")
        random = np.random.Generator(np.random.Philox(key=[self.seed, step]))
        batch = self.at(anchors[random.integers(len(anchors), size=self.batch_size)])
        for transform in self.transforms:
            batch = transform(batch, random)
        return batch

    def at(self, rows: np.ndarray) -> Batch:
        """The batch of given rows `[B]` int64 (the same gathers, the rows being chosen by the caller)."""
        bounds = self.store.first[rows], self.store.last[rows]
        names = list(self.windows)
        views = {name: self._gather(self.windows[name], rows, *bounds) for name in names[1:]}
        return self._gather(self.windows[names[0]], rows, *bounds, views)

    def _gather(
        self,
        window: Window,
        rows: np.ndarray,
        first: np.ndarray,
        last: np.ndarray,
        views: Mapping[str, Batch] | None = None,
    ) -> Batch:
        gather = self._sequence if window.sequence is not None else self._chunk
        return gather(window, rows, first, last, views or {})

    def _chunk(
        self,
        window: Window,
        rows: np.ndarray,
        first: np.ndarray,
        last: np.ndarray,
        views: Mapping[str, Batch],
    ) -> Batch:
        store = self.store
        begin, end = window.chunk or (0, 0)
        wanted = rows[:, None] + np.arange(begin, end)
        at = np.clip(wanted, first[:, None], last[:, None])
        reward, discount, next_obs = None, None, None
        if window.bootstrap is not None:
            terminal = store.terminal[rows]
            left = last - rows  # transitions whose successor is stored
            span = np.minimum(window.bootstrap, left + terminal)
            weights, powers = _span_weights(window.bootstrap, window.discount)
            ahead = np.minimum(rows[:, None] + np.arange(window.bootstrap), last[:, None])
            reward = np.einsum("bk,bk->b", store.reward.take(ahead), weights.take(span, axis=0))
            discount = np.where(span > left, np.float32(0), powers.take(span))
            if MASK in store.columns:
                within = np.arange(window.bootstrap) < span[:, None]
                discount *= (store.columns[MASK].take(ahead).astype(bool) | ~within).all(axis=1)
            next_obs = self._observe(window.obs, rows + span, first, last)
        extra = {name: store.columns[name][rows] for name in window.columns}
        if window.mc_return:
            extra["mc_return"] = store.returns(window.discount)[rows]
        return Batch(
            obs=self._observe(window.obs, rows, first, last),
            action=store.action.take(at, axis=0),
            is_pad=wanted != at,
            reward=reward,
            discount=discount,
            next_obs=next_obs,
            extra=extra,
            index=rows,
            views=views,
        )

    def _sequence(
        self,
        window: Window,
        rows: np.ndarray,
        first: np.ndarray,
        last: np.ndarray,
        views: Mapping[str, Batch],
    ) -> Batch:
        """One transition per step: where its successor is not stored, `is_pad` is true."""
        store, length = self.store, window.sequence or 0
        wanted = rows[:, None] + np.arange(length + 1)
        at = np.minimum(wanted, last[:, None])
        steps = at[:, :-1]
        terminal = store.terminal[rows][:, None]
        is_pad = wanted[:, :-1] >= (last[:, None] + terminal)
        terminated = (wanted[:, :-1] == last[:, None]) & terminal
        if MASK in store.columns:
            terminated |= ~store.columns[MASK].take(steps).astype(bool)
        extra = {name: store.columns[name][steps] for name in window.columns}
        if window.mc_return:
            extra["mc_return"] = store.returns(window.discount)[steps]
        return Batch(
            obs=self._frames(at),
            action=store.action.take(steps, axis=0),
            is_pad=is_pad,
            reward=np.where(is_pad, 0.0, store.reward[steps]).astype(np.float32),
            discount=np.where(terminated, 0.0, window.discount).astype(np.float32),
            extra=extra | {"terminated": terminated},
            index=rows,
            views=views,
        )

    def _observe(
        self, offsets: tuple[int, ...], rows: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> Observation:
        return self._frames(np.clip(rows[:, None] + np.asarray(offsets), first[:, None], last[:, None]))

    def _frames(self, at: np.ndarray) -> Observation:
        store = self.store
        text = None
        if store.spec.text:
            text = tuple(map(store.texts.__getitem__, store.text_id[at[:, 0]].tolist()))
        return Observation(
            state=store.state.take(at, axis=0),
            images={name: frames[at] for name, frames in store.images.items()},
            text=text,
        )
