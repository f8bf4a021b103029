"""A replay buffer for online learning: a ring of control steps with the columns of a `Store`.

A `Sampler` takes it as it takes a store. Episodes stay in one piece: one that reaches the end of the ring
while it is being recorded is moved to the beginning, and the oldest episodes make room as wholes. The step
that was added last has no successor yet, so a window that bootstraps does not draw it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robopolicy.core.errors import DatasetError
from robopolicy.core.spec import Spec
from robopolicy.core.types import Episode, Step
from robopolicy.data.store import SOURCES, check_episode, return_to_go, source_codes
from robopolicy.data.writer import DatasetWriter


@dataclass
class _Kept:
    """An episode in the ring: rows `start .. stop - 1`; `drawable` of them have a successor.

    `flushed` says whether it is in a dataset already.
    """

    start: int
    stop: int
    drawable: int = 0
    success: bool = False
    seed: int = -1
    flushed: bool = False


class _Queue:
    """Row numbers, oldest first, always contiguous in memory."""

    def __init__(self, capacity: int) -> None:
        self._rows, self._begin, self._end = np.empty(2 * capacity, dtype=np.int64), 0, 0

    @property
    def rows(self) -> np.ndarray:
        return self._rows[self._begin : self._end]

    def push(self, row: int) -> None:
        if self._end == len(self._rows):
            kept = self.rows.copy()
            self._begin, self._end = 0, len(kept)
            self._rows[: len(kept)] = kept
        self._rows[self._end] = row
        self._end += 1

    def drop(self, count: int) -> None:
        self._begin += count

    def shift_newest(self, count: int, by: int) -> None:
        self._rows[self._end - count : self._end] += by


class Buffer:
    """Experience of one environment after the other; for several at once, append whole episodes.

    Args:
        spec: of the observations and actions.
        capacity: control steps kept; must be larger than the longest episode.
        columns: further columns by name: dtype and shape of a row, for example `("float32", (4,))`.

    Attributes:
        state, action, reward, images, text_id, texts, columns, first, last, terminal: as in `Store`, with
            `capacity` rows; rows that nobody may draw hold what was there before.
    """

    def __init__(
        self,
        *,
        spec: Spec,
        capacity: int,
        columns: Mapping[str, tuple[str, tuple[int, ...]]] | None = None,
    ) -> None:
        self.spec, self.capacity = spec, capacity
        self.state = np.zeros((capacity, len(spec.state)), dtype=np.float32)
        self.action = np.zeros((capacity, len(spec.action)), dtype=np.float32)
        self.reward = np.zeros(capacity, dtype=np.float32)
        self.images = {
            name: np.zeros((capacity, *i.shape), dtype=np.uint8) for name, i in spec.images.items()
        }
        self.columns = {
            name: np.zeros((capacity, *shape), dtype=dtype)
            for name, (dtype, shape) in (columns or {}).items()
        }
        self.source = np.zeros(capacity, dtype=np.uint8)
        self.text_id = np.zeros(capacity, dtype=np.int64)
        self.texts: tuple[str, ...] = ()
        self.first = np.zeros(capacity, dtype=np.int64)
        self.last = np.zeros(capacity, dtype=np.int64)
        self.terminal = np.zeros(capacity, dtype=bool)
        self._rows, self._rows_with_next = _Queue(capacity), _Queue(capacity)
        self._closed: deque[_Kept] = deque()
        self._open: _Kept | None = None
        self._head = 0
        self._returns: dict[float, np.ndarray] = {}

    def __len__(self) -> int:
        """How many steps are kept."""
        return len(self._rows.rows)

    @property
    def num_episodes(self) -> int:
        """How many finished episodes are kept."""
        return len(self._closed)

    def anchors(self, *, with_next: bool) -> np.ndarray:
        """See `Rows.anchors`; a view that the next append changes."""
        return self._rows_with_next.rows if with_next else self._rows.rows

    def returns(self, discount: float) -> np.ndarray:
        """See `Rows.returns`; of an unfinished episode, up to its newest step."""
        if discount not in self._returns:
            self._returns[discount] = np.zeros(self.capacity, dtype=np.float32)
            for kept in self._closed:
                self._update_returns(kept, discount)
        if self._open is not None:
            self._update_returns(self._open, discount)
        return self._returns[discount]

    def append(self, step: Step, next_step: Step, columns: Mapping[str, np.ndarray] | None = None) -> None:
        """Add one control step: what was seen in `step`, and the action and outcome that `next_step` reports.

        Raises:
            DatasetError: an episode does not fit into the ring, or a column is missing.
        """
        if next_step.applied is None:
            raise DatasetError("a step after a reset has no action; append pairs of consecutive steps")
        images = {name: step.obs.images[name][None] for name in self.images}
        text = step.obs.text[0] if step.obs.text else ""
        rows = {name: np.asarray(value)[None] for name, value in (columns or {}).items()}
        self._add(
            state=np.asarray(step.obs.state)[None],
            action=np.asarray(next_step.applied)[None],
            reward=np.array([next_step.reward]),
            source=np.array([SOURCES.index(next_step.source)]),
            text=text,
            images=images,
            columns=rows,
        )
        if next_step.done:
            self._close(next_step.terminated, success=bool(next_step.info.get("success", False)), seed=-1)

    def end_episode(self) -> None:
        """Close the episode that is being recorded as cut off by time; does nothing where there is none."""
        if self._open is not None:
            self._close(terminated=False, success=False, seed=-1)

    def extend(self, episode: Episode) -> None:
        """Add a whole episode.

        Raises:
            DatasetError: it does not fit the spec or the columns, or is longer than the ring.
        """
        self.end_episode()
        check_episode(episode, self.spec, name="the episode", columns=tuple(self.columns))
        self._add(
            state=episode.state,
            action=episode.action,
            reward=episode.reward,
            source=source_codes(episode),
            text=episode.text,
            images=episode.images,
            columns=episode.columns,
        )
        self._close(episode.terminated, success=episode.success, seed=episode.seed)

    def write(self, index: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        """Refresh what is said of the rows `index` (as `Batch.index` gives them)."""
        for name, values in columns.items():
            if name not in self.columns:
                raise DatasetError(f"the buffer has no column '{name}'; it has {sorted(self.columns)}")
            self.columns[name][index] = values

    def episodes(self) -> list[Episode]:
        """The finished episodes, oldest first; their arrays are views."""
        return [self._episode(kept) for kept in self._closed]

    def flush(self, path: str | Path, *, robot_type: str = "unknown") -> None:
        """Append to the LeRobotDataset v3 at `path` the finished episodes that no flush has written yet.

        They are kept here as well.
        """
        with DatasetWriter(path, spec=self.spec, robot_type=robot_type) as writer:
            for kept in self._closed:
                if not kept.flushed:
                    writer.append(self._episode(kept))
                    kept.flushed = True

    def _add(
        self,
        *,
        state: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        source: np.ndarray,
        text: str,
        images: Mapping[str, np.ndarray],
        columns: Mapping[str, np.ndarray],
    ) -> None:
        if columns.keys() != self.columns.keys():
            raise DatasetError(
                f"the buffer has columns {sorted(self.columns)}, the step has {sorted(columns)}"
            )
        count = len(action)
        start = self._room(count)
        rows = slice(start, start + count)
        self.state[rows], self.action[rows], self.reward[rows], self.source[rows] = (
            state,
            action,
            reward,
            source,
        )
        for mine, theirs in ((self.images, images), (self.columns, columns)):
            for name, column in mine.items():
                column[rows] = theirs[name]
        if text not in self.texts:
            self.texts += (text,)
        self.text_id[rows] = self.texts.index(text)
        kept = self._open
        assert kept is not None
        kept.stop = self._head = start + count
        self.first[rows], self.terminal[rows] = kept.start, False
        self.last[kept.start : kept.stop] = kept.stop - 1
        for row in range(start, kept.stop):
            self._rows.push(row)
        self._let_draw(kept, kept.stop - kept.start - 1)

    def _room(self, count: int) -> int:
        """The first of `count` free rows behind the open episode, which is begun or moved if need be."""
        kept = self._open or _Kept(start=self._head, stop=self._head)
        length = kept.stop - kept.start
        if length + count > self.capacity:
            raise DatasetError(
                f"an episode of {length + count} steps does not fit a buffer of {self.capacity}; raise its "
                "capacity"
            )
        if kept.stop + count > self.capacity:
            self._evict(kept.stop, self.capacity)
            self._evict(0, length + count)
            self._move(kept)
        self._evict(kept.stop, kept.stop + count)
        self._open = kept
        return kept.stop

    def _evict(self, start: int, stop: int) -> None:
        """Forget the episodes that begin in `start .. stop - 1`; of a ring, what lies ahead is the oldest."""
        while self._closed and start <= self._closed[0].start < stop:
            oldest = self._closed.popleft()
            self._rows.drop(oldest.stop - oldest.start)
            self._rows_with_next.drop(oldest.drawable)

    def _move(self, kept: _Kept) -> None:
        length, by = kept.stop - kept.start, -kept.start
        arrays = [self.state, self.action, self.reward, self.source, self.text_id, self.terminal]
        for array in [*arrays, *self.images.values(), *self.columns.values()]:
            array[:length] = array[kept.start : kept.stop].copy()
        self.first[:length], self.last[:length] = 0, length - 1
        self._rows.shift_newest(length, by)
        self._rows_with_next.shift_newest(kept.drawable, by)
        kept.start, kept.stop = 0, length

    def _close(self, terminated: bool, *, success: bool, seed: int) -> None:
        kept = self._open
        assert kept is not None
        self.terminal[kept.start : kept.stop] = terminated
        self._let_draw(kept, kept.stop - kept.start - (not terminated))
        kept.success, kept.seed = success, seed
        for discount in self._returns:
            self._update_returns(kept, discount)
        self._closed.append(kept)
        self._open = None

    def _let_draw(self, kept: _Kept, drawable: int) -> None:
        for row in range(kept.start + kept.drawable, kept.start + drawable):
            self._rows_with_next.push(row)
        kept.drawable = drawable

    def _update_returns(self, kept: _Kept, discount: float) -> None:
        rows = slice(kept.start, kept.stop)
        self._returns[discount][rows] = return_to_go(self.reward, discount, rows, self.columns)

    def _episode(self, kept: _Kept) -> Episode:
        rows = slice(kept.start, kept.stop)
        return Episode(
            state=self.state[rows],
            action=self.action[rows],
            reward=self.reward[rows],
            terminated=bool(self.terminal[kept.start]),
            success=kept.success,
            text=self.texts[self.text_id[kept.start]],
            images={name: frames[rows] for name, frames in self.images.items()},
            source=tuple(SOURCES[code] for code in self.source[rows]),
            columns={name: column[rows] for name, column in self.columns.items()},
            seed=kept.seed,
        )
