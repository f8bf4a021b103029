"""Episodes as flat columns in memory: what the sampler gathers from.

Row f of every column belongs to one control step; episodes are half-open row ranges, one after the other. An
episode stores the observation before each action, so the observation after the last action is not there:
where an episode ended by time, nothing can be bootstrapped from its last row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.signal import lfilter

from robopolicy.core.errors import DatasetError
from robopolicy.core.spec import Spec
from robopolicy.core.types import Episode
from robopolicy.data.stats import describe

# A column: false where an episode goes on although nothing is bootstrapped beyond the step.
MASK = "next.mask"
SOURCES = ("policy", "human", "expert")


class Rows(Protocol):
    """What a sampler needs of its data; `Store` and `Buffer` are two of them.

    `first [F]`, `last [F]` are the first and last row of each row's episode; `terminal [F]` says whether the
    last one ended the task.
    """

    @property
    def spec(self) -> Spec: ...  # noqa: D102

    @property
    def state(self) -> np.ndarray: ...  # noqa: D102

    @property
    def action(self) -> np.ndarray: ...  # noqa: D102

    @property
    def reward(self) -> np.ndarray: ...  # noqa: D102

    @property
    def images(self) -> Mapping[str, np.ndarray]: ...  # noqa: D102

    @property
    def columns(self) -> Mapping[str, np.ndarray]: ...  # noqa: D102

    @property
    def text_id(self) -> np.ndarray: ...  # noqa: D102

    @property
    def texts(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def first(self) -> np.ndarray: ...  # noqa: D102

    @property
    def last(self) -> np.ndarray: ...  # noqa: D102

    @property
    def terminal(self) -> np.ndarray: ...  # noqa: D102

    def anchors(self, *, with_next: bool) -> np.ndarray:
        """Rows that may be drawn, int64; `with_next` leaves out rows that have nothing to bootstrap from."""
        ...

    def returns(self, discount: float) -> np.ndarray:
        """Discounted return to go of every row, `[F]` float32, up to the end of its episode."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Store:
    """A dataset in memory (images may be memory maps).

    Args:
        spec: of what is loaded.
        state: `[F S]` float32.
        action: `[F A]` float32.
        reward: `[F]` float32.
        episode_start, episode_stop: `[episodes]` int64, half-open, in order and without gaps.
        terminated: `[episodes]` bool; false where time ran out.
        success: `[episodes]` bool.
        seed: `[episodes]` int64, -1 where unknown.
        images: camera name to `[F C h w]` uint8.
        text_id: `[F]` int64 into `texts`.
        texts: the instructions.
        source: `[F]` uint8 into `SOURCES`: who acted.
        columns: further columns `[F ...]` by name.
        chosen: positions of the episodes that `anchors` and `stats` are of, ascending; None means all.

    Attributes:
        first, last, terminal: of each row's episode, `[F]`; see `Rows`.
    """

    spec: Spec
    state: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    episode_start: np.ndarray
    episode_stop: np.ndarray
    terminated: np.ndarray
    success: np.ndarray
    seed: np.ndarray
    text_id: np.ndarray
    texts: tuple[str, ...]
    source: np.ndarray
    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    chosen: tuple[int, ...] | None = None
    first: np.ndarray = field(init=False)
    last: np.ndarray = field(init=False)
    terminal: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        if not len(self.episode_start):
            raise DatasetError("there are no episodes to load; record some, or ask for other episodes")
        if len(self.columns.keys() & {"mc_return", "terminated"}):
            raise DatasetError(
                "columns 'mc_return' and 'terminated' are made by the sampler; rename the dataset's"
            )
        lengths = self.episode_stop - self.episode_start
        object.__setattr__(self, "first", np.repeat(self.episode_start, lengths))
        object.__setattr__(self, "last", np.repeat(self.episode_stop - 1, lengths))
        object.__setattr__(self, "terminal", np.repeat(self.terminated, lengths))

    @property
    def num_frames(self) -> int:
        """F, the number of control steps."""
        return len(self.state)

    @property
    def num_episodes(self) -> int:
        """How many episodes the rows belong to."""
        return len(self.episode_start)

    def anchors(self, *, with_next: bool) -> np.ndarray:
        """See `Rows.anchors`."""
        return self._rows_with_next if with_next else self._rows

    def returns(self, discount: float) -> np.ndarray:
        """See `Rows.returns`; computed once per discount."""
        if discount not in self._returns:
            episodes = map(slice, self.episode_start, self.episode_stop)
            parts = [return_to_go(self.reward, discount, rows, self.columns) for rows in episodes]
            self._returns[discount] = np.concatenate(parts)
        return self._returns[discount]

    @cached_property
    def _rows(self) -> np.ndarray:
        if self.chosen is None:
            return np.arange(self.num_frames)
        bounds = ((self.episode_start[i], self.episode_stop[i]) for i in self.chosen)
        return np.concatenate([np.arange(start, stop) for start, stop in bounds])

    @cached_property
    def _rows_with_next(self) -> np.ndarray:
        return self._rows[(self._rows < self.last) | self.terminal]

    @cached_property
    def _returns(self) -> dict[float, np.ndarray]:
        return {}

    def stats(self) -> dict[str, dict[str, np.ndarray]]:
        """Statistics of state and action over the rows that are drawn, for `Normalizer.fit`."""
        parts = {"state": self.state, "action": self.action}
        return {
            name: describe(part if self.chosen is None else part[self._rows]) for name, part in parts.items()
        }

    def choose(self, episodes: Sequence[int]) -> Store:
        """The same store, of which only the episodes at these positions are drawn; nothing is copied."""
        if not len(episodes):
            raise DatasetError("no episodes are chosen; choose at least one")
        return replace(self, chosen=tuple(sorted(episodes)))

    def episode(self, index: int) -> Episode:
        """Episode `index` (a position in this store); its arrays are views."""
        start, stop = int(self.episode_start[index]), int(self.episode_stop[index])
        return Episode(
            state=self.state[start:stop],
            action=self.action[start:stop],
            reward=self.reward[start:stop],
            terminated=bool(self.terminated[index]),
            success=bool(self.success[index]),
            text=self.texts[self.text_id[start]],
            images={name: frames[start:stop] for name, frames in self.images.items()},
            source=tuple(SOURCES[code] for code in self.source[start:stop]),
            columns={name: column[start:stop] for name, column in self.columns.items()},
            seed=int(self.seed[index]),
        )

    @staticmethod
    def from_episodes(episodes: Sequence[Episode], spec: Spec) -> Store:
        """Concatenate recorded episodes.

        Raises:
            DatasetError: there are none, or one does not fit the spec or the first one's columns.
        """
        if not episodes:
            raise DatasetError("there are no episodes to load; record some first")
        for index, episode in enumerate(episodes):
            check_episode(episode, spec, name=f"episode {index}", columns=tuple(episodes[0].columns))
        lengths = np.array([len(episode) for episode in episodes], dtype=np.int64)
        stop = np.cumsum(lengths)
        texts = tuple(dict.fromkeys(episode.text for episode in episodes))
        return Store(
            spec=spec,
            state=np.concatenate([e.state for e in episodes]).astype(np.float32, copy=False),
            action=np.concatenate([e.action for e in episodes]).astype(np.float32, copy=False),
            reward=np.concatenate([e.reward for e in episodes]).astype(np.float32, copy=False),
            episode_start=stop - lengths,
            episode_stop=stop,
            terminated=np.array([e.terminated for e in episodes], dtype=bool),
            success=np.array([e.success for e in episodes], dtype=bool),
            seed=np.array([e.seed for e in episodes], dtype=np.int64),
            text_id=np.repeat([texts.index(e.text) for e in episodes], lengths),
            texts=texts,
            source=np.concatenate([source_codes(e) for e in episodes]),
            images={name: np.concatenate([e.images[name] for e in episodes]) for name in spec.images},
            columns={
                name: np.concatenate([e.columns[name] for e in episodes]) for name in episodes[0].columns
            },
        )


def return_to_go(
    reward: np.ndarray, discount: float, rows: slice, columns: Mapping[str, np.ndarray]
) -> np.ndarray:
    """The discounted return to go at each of `rows`, an episode: `[L]` float32; it ends where `MASK` says."""
    ends = np.flatnonzero(~columns[MASK][rows].astype(bool)) + 1 if MASK in columns else []
    return np.concatenate([_discounted(part, discount) for part in np.split(reward[rows], ends)])


def _discounted(reward: np.ndarray, discount: float) -> np.ndarray:
    """The sum of what is left at each step, later rewards counting less."""
    reverse = lfilter([1.0], [1.0, -discount], reward[::-1].astype(np.float64))
    return np.asarray(reverse)[::-1].astype(np.float32)


def source_codes(episode: Episode) -> np.ndarray:
    """Who acted at each step as `[L]` uint8 into `SOURCES`; an episode that does not say is the policy's."""
    codes = [SOURCES.index(name) for name in episode.source] or [0] * len(episode)
    return np.array(codes, dtype=np.uint8)


def check_episode(episode: Episode, spec: Spec, *, name: str, columns: tuple[str, ...] | None = None) -> None:
    """Refuse an episode that is empty, not finite, or does not fit `spec` (and `columns`, where given).

    Raises:
        DatasetError: names the episode, the column, and both shapes or the offending frame.
    """
    length = len(episode)
    if not length:
        raise DatasetError(f"{name} has no steps; keep episodes of at least one step")
    wanted = {"state": (length, len(spec.state)), "action": (length, len(spec.action)), "reward": (length,)}
    for key, shape in wanted.items():
        value = np.asarray(getattr(episode, key))
        if value.shape != shape:
            raise DatasetError(f"{name}: {key} has shape {value.shape}, the spec asks for {shape}")
        if not np.isfinite(value).all():
            frame = int(np.argwhere(~np.isfinite(value))[0][0])
            raise DatasetError(f"{name}: {key} is not finite at frame {frame}; mend the recording's source")
    for camera, image in spec.images.items():
        if camera not in episode.images:
            raise DatasetError(f"{name} has no camera '{camera}', the spec has {sorted(spec.images)}")
        frames = episode.images[camera]
        if frames.shape != (length, *image.shape) or frames.dtype != np.uint8:
            raise DatasetError(
                f"{name}: camera '{camera}' is {frames.dtype} {frames.shape}, the spec asks for uint8 "
                f"{(length, *image.shape)}"
            )
    if columns is not None and set(columns) != set(episode.columns):
        raise DatasetError(f"{name} has columns {sorted(episode.columns)}, the others have {sorted(columns)}")
    for key, column in episode.columns.items():
        if len(column) != length:
            raise DatasetError(f"{name}: column '{key}' has {len(column)} rows for {length} steps")
    if episode.source and (len(episode.source) != length or not set(episode.source) <= set(SOURCES)):
        raise DatasetError(f"{name}: source must be {length} of {list(SOURCES)}")
