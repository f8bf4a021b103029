"""LeRobotDataset v3.0 reader, for our own datasets and for those of lerobot.

Every lookup is by key (episode index, frame index, feature name), never by position in a file. What a killed
recorder of ours left behind is assembled first; quarantined episodes are skipped and counted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from robopolicy.core.errors import DatasetError
from robopolicy.core.spec import Image, Spec
from robopolicy.core.types import Episode
from robopolicy.data import collected, files, journal, origin, video
from robopolicy.data import format as fmt
from robopolicy.data.assemble import own_part, recover
from robopolicy.data.damage import CHECK, DamagedFileError
from robopolicy.data.episodes import EpisodeRow, episode_row, require_counts, scan_rows, span
from robopolicy.data.store import SOURCES, Store

_log = logging.getLogger(__name__)


def open_dataset(path: str | Path, *, cache: Path | None = None) -> Dataset:
    """Open the dataset in a folder.

    Args:
        path: the folder that holds `meta/info.json`.
        cache: where raw camera frames are kept for training. By default `.cache` within the dataset, or,
            where that cannot be written, a folder in `$XDG_CACHE_HOME/robopolicy` (`~/.cache/robopolicy`).
            It may be deleted at any time, and is made anew when the dataset changes.

    Raises:
        DatasetError: names the file that is missing, damaged or contradicts the others, and the fix.
    """
    root = Path(path)
    if not root.is_dir():
        raise DatasetError(f"there is no dataset at {root}; give a folder, or record one first")
    recover(root)
    return Dataset(root, cache=cache)


class Dataset:
    """A dataset on disk; `open_dataset` makes one.

    Attributes:
        spec: of everything that is recorded; `load` gives the part that a policy may see.
        fps: frames a second.
        tasks: task index to instruction.
        features: as in `info.json`.
        robot_type: as in `info.json`.
        episodes: readable episodes by index.
        quarantined: index of each episode that is skipped, with the reasons.
        origins: of imported episodes, see `data.origin`.
    """

    def __init__(self, root: Path, *, cache: Path | None = None) -> None:
        self.root, self._cache = root, cache
        self.info = files.read_info(root)
        self.features: dict[str, dict[str, Any]] = self.info["features"]
        self.fps: float = self.info["fps"]
        self.robot_type = str(self.info.get("robot_type"))
        self.tasks = fmt.read_tasks(root)
        self.quarantined = files.read_quarantine(root)
        self.origins = origin.read(root)
        rows, damage = scan_rows(root)
        # a living recorder may be assembling: what it vouches for counts
        if journal.header(root) is not None:
            rows = [row for row in rows if row["episode_index"] < self.info["total_episodes"]]
        require_counts(root, self.info, rows, damage, self.quarantined)
        keep = [row for row in rows if row["episode_index"] not in self.quarantined]
        self._cameras = fmt.cameras_of(self.features)
        self.episodes = {row["episode_index"]: episode_row(root, self.info, row) for row in keep}
        self._seeds: dict[int, int] = {}
        self.spec = fmt.foreign_spec(self.features, fps=self.fps, text=any(self.tasks.values()))
        if (root / fmt.OWN).exists():
            offered = self.spec
            self.spec, batches = own_part(root)
            _require_fit(root, self.spec, offered)
            for batch in batches:
                self._seeds |= {batch["first_episode"] + i: seed for i, seed in enumerate(batch["seeds"])}
        if self.quarantined:
            _log.warning("%s: %d quarantined episodes are skipped", root, len(self.quarantined))

    @property
    def num_episodes(self) -> int:
        """Episodes that can be read."""
        return len(self.episodes)

    @property
    def num_frames(self) -> int:
        """Control steps of the episodes that can be read."""
        return sum(row.length for row in self.episodes.values())

    def facts(self) -> dict[str, tuple[str, ...]]:
        """What a person asks first, by name; what was not recorded is said, not guessed."""
        spec, success = self.spec, "not recorded"
        if fmt.SUCCESS in self.features:
            success = f"{self.load('state').success.sum()} of {self.num_episodes} episodes"
            success += origin.unknown(self.origins, "success")
        cameras = tuple(f"{name} {image.width}x{image.height}" for name, image in spec.images.items())
        origins = tuple(origin.describe(each) for each in self.origins)
        tasks = collected.tasks(self.root)
        return {
            **({"origin": origins} if origins else {}),
            **({"task": tasks} if tasks else {}),
            "robot": (self.robot_type,),
            "success": (success,),
            "state": spec.state.names,
            "action": spec.action.names,
            "control": (spec.semantics.mode, spec.semantics.frame + origin.unknown(self.origins, "control")),
            "cameras": cameras or ("none",),
        }

    def load(
        self,
        observe: str = "all",
        episodes: Sequence[int] | None = None,
        elements: Sequence[str] | None = None,
    ) -> Store:
        """Read episodes into memory; camera frames of a whole dataset become a memory map.

        Args:
            observe, elements: which part of it, see `Spec.observe`.
            episodes: their indices, in any order; all that are readable by default.

        Raises:
            DatasetError: there are none, one is unknown, or a file is damaged.
        """
        spec = self.spec.observe(observe, elements)
        rows = self._chosen(episodes)
        images = {name: self._frames(name, image, rows, episodes) for name, image in spec.images.items()}
        return self._store(spec, rows, images)

    def _store(self, spec: Spec, rows: Sequence[EpisodeRow], images: Mapping[str, np.ndarray]) -> Store:
        columns = self._read(rows)
        lengths = np.array([row.length for row in rows], dtype=np.int64)
        stop = np.cumsum(lengths)
        last = stop - 1
        used = {fmt.ACTION, fmt.STATE, fmt.ENV_STATE, fmt.REWARD, fmt.DONE, fmt.TRUNCATED, fmt.SUCCESS}
        used |= {fmt.SOURCE, *fmt.INDEX_FEATURES}
        total = int(stop[-1])
        no = np.zeros(total, dtype=bool)
        done, truncated = (columns.get(key, no).astype(bool) for key in (fmt.DONE, fmt.TRUNCATED))
        source = columns.get(fmt.SOURCE, np.full(total, SOURCES[0], dtype=object))
        codes = {name: code for code, name in enumerate(SOURCES)}
        ids = {index: i for i, index in enumerate(self.tasks)}
        unknown = set(np.unique(columns["task_index"]).tolist()) - ids.keys()
        if unknown:
            raise DamagedFileError(self.root / fmt.TASKS, f"lacks task_index {sorted(unknown)}")
        return Store(
            spec=spec,
            state=self._vector(columns, (fmt.STATE, fmt.ENV_STATE), spec.state.names, total),
            action=self._vector(columns, (fmt.ACTION,), spec.action.names, total),
            reward=columns.get(fmt.REWARD, np.zeros(total)).astype(np.float32),
            episode_start=stop - lengths,
            episode_stop=stop,
            terminated=(done & ~truncated)[last].astype(bool),
            success=columns.get(fmt.SUCCESS, no)[last].astype(bool),
            seed=np.array([self._seeds.get(row.index, -1) for row in rows], dtype=np.int64),
            text_id=np.array([ids[i] for i in columns["task_index"].tolist()], dtype=np.int64),
            texts=tuple(self.tasks.values()),
            source=np.array([codes.get(name, 0) for name in source], dtype=np.uint8),
            images=images,
            columns={key: values for key, values in columns.items() if key not in used},
        )

    def episode(self, index: int) -> Episode:
        """Episode `index` with everything that was recorded."""
        return self.load("all", [index]).episode(0)

    def in_turn(self) -> Iterator[tuple[EpisodeRow, Episode]]:
        """Every readable episode with everything that was recorded; each file is read once.

        Raises:
            DamagedFileError: a file is damaged.
        """
        for _, group in groupby(self.episodes.values(), key=lambda row: row.data):
            rows = list(group)
            store = self._store(self.spec.observe("state"), rows, {})
            stills = {n for n, key in self._cameras.items() if self.features[key]["dtype"] == "image"}
            shown = {n: self._decoded(n, i, rows) for n, i in self.spec.images.items() if n in stills}
            for number, row in enumerate(rows):
                part = slice(store.episode_start[number], store.episode_stop[number])
                images = {
                    name: shown[name][part] if name in stills else self._decoded(name, image, [row])
                    for name, image in self.spec.images.items()
                }
                yield row, replace(store.episode(number), images=images)

    def _chosen(self, episodes: Sequence[int] | None) -> list[EpisodeRow]:
        wanted = list(self.episodes) if episodes is None else list(episodes)
        for index in wanted:
            if index in self.quarantined:
                raise DatasetError(
                    f"episode {index} of {self.root} is quarantined: {self.quarantined[index][0]}"
                )
            if index not in self.episodes:
                raise DatasetError(f"{self.root} has no episode {index}; it has {span(self.episodes)}")
        if not wanted:
            raise DatasetError(
                f"{self.root} holds no readable episode; record some, or choose another dataset"
            )
        return [self.episodes[index] for index in wanted]

    def _read(self, rows: Sequence[EpisodeRow]) -> dict[str, np.ndarray]:
        """Every column of these episodes, in this order."""
        keys = [key for key, feature in self.features.items() if _is_column(key, feature)]
        parts: dict[str, list[np.ndarray]] = {key: [np.empty(0)] * len(rows) for key in keys}
        for number, table, at in self._located(rows, keys):
            for key in keys:
                parts[key][number] = table[key][at]
        return {key: np.concatenate(part) for key, part in parts.items()}

    def _located(
        self, rows: Sequence[EpisodeRow], keys: Sequence[str]
    ) -> Iterator[tuple[int, Mapping[str, np.ndarray], np.ndarray]]:
        """(number in `rows`, columns of its file, which rows of them are its own); each file is read once."""
        numbered = sorted(enumerate(rows), key=lambda pair: pair[1].data)
        for path, group in groupby(numbered, key=lambda pair: pair[1].data):
            table = files.read_data(path, self.features, keys, max_rows=self.info["total_frames"])
            found = files.rows_by_episode(table)
            for number, row in group:
                yield number, table, files.locate(table, found, row.index, row.length, path)

    def _vector(
        self, columns: Mapping[str, np.ndarray], keys: tuple[str, ...], names: tuple[str, ...], total: int
    ) -> np.ndarray:
        present = [key for key in keys if key in columns]
        have = [name for key in present for name in fmt.feature_names(key, self.features[key])]
        values = [columns[key].reshape(total, -1) for key in present] or [np.empty((total, 0))]
        at = [have.index(name) for name in names]
        return np.ascontiguousarray(np.concatenate(values, axis=1)[:, at], dtype=np.float32)

    def _frames(
        self, camera: str, image: Image, rows: Sequence[EpisodeRow], episodes: Sequence[int] | None
    ) -> np.ndarray:
        """A map of the cache for the whole dataset; decoded into memory for some of its episodes."""
        if episodes is None:
            shape = (sum(row.length for row in rows), *image.shape)
            fill = partial(self._fill, camera, image, rows)
            paths = sorted({row.clips[camera].path if row.clips else row.data for row in rows})
            stamp = [(str(f), (s := _stat(f)).st_size, s.st_mtime_ns) for f in paths]
            spans = [(row.index, row.length, row.clips and row.clips[camera].start) for row in rows]
            mark = hashlib.sha256(json.dumps([image.shape, stamp, spans]).encode()).hexdigest()[:16]
            cache = self._cache or _cache_folder(self.root)
            path = cache / f"{camera}-{mark}.npy"
            fresh = not path.exists()
            frames = video.frame_cache(path, shape, fill)
            if fresh:
                for stale in set(cache.glob(f"{camera}-*.npy")) - {path}:
                    stale.unlink(missing_ok=True)
            return frames
        return self._decoded(camera, image, rows)

    def _decoded(self, camera: str, image: Image, rows: Sequence[EpisodeRow]) -> np.ndarray:
        frames = np.empty((sum(row.length for row in rows), *image.shape), dtype=np.uint8)
        self._fill(camera, image, rows, frames)
        return frames

    def _fill(self, camera: str, image: Image, rows: Sequence[EpisodeRow], out: np.ndarray) -> None:
        key = self._cameras[camera]
        if self.features[key]["dtype"] == "video":
            video.read_clips([row.clips[camera] for row in rows], out, fps=self.fps, image=image)
            return
        starts = np.cumsum([0, *(row.length for row in rows)])
        for number, table, at in self._located(rows, [key, "episode_index", "frame_index"]):
            for frame, data in enumerate(table[key][at], start=int(starts[number])):
                out[frame] = files.decode_still(data, image, path=rows[number].data)


def _cache_folder(root: Path) -> Path:
    """`.cache` in the dataset, or in the user's cache where it cannot be written."""
    inside = root / ".cache"
    with contextlib.suppress(OSError):
        inside.mkdir(exist_ok=True)
        if os.access(inside, os.W_OK):
            return inside
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    mark = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return Path(home) / "robopolicy" / f"{root.resolve().name}-{mark}"


def _require_fit(root: Path, own: Spec, offered: Spec) -> None:
    """What our own file says must be there as `info.json` says it; bounds, units and meaning are its own."""
    path = root / fmt.OWN
    for part in ("state", "action"):
        missing = set(getattr(own, part).names) - set(getattr(offered, part).names)
        if missing:
            raise DamagedFileError(
                path, f"names {sorted(map(str, missing))} of the {part}, {fmt.INFO} does not"
            )
    if own.images != {name: offered.images.get(name) for name in own.images}:
        raise DamagedFileError(path, f"the cameras are {own.images}, in {fmt.INFO} {offered.images}")
    if abs(own.control_hz - offered.control_hz) > 1e-6:
        raise DamagedFileError(
            path, f"control_hz is {own.control_hz}, fps in {fmt.INFO} {offered.control_hz}"
        )


def _is_column(key: str, feature: Mapping[str, Any]) -> bool:
    return feature["dtype"] not in ("video", "image", "string") or key == fmt.SOURCE


def _stat(path: Path) -> Any:
    try:
        return path.stat()
    except OSError as error:
        raise DamagedFileError(path, "is missing", f"restore the file, or {CHECK}") from error
