"""From the journal to the files of LeRobotDataset v3.0.

Nothing that is committed is ever rewritten: new episodes go to new files, and `meta/info.json`, renamed in
last, says how many episodes there are. An assembly that was cut short is simply done again; it makes the same
files.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robopolicy.core.errors import DatasetError, UserError
from robopolicy.core.files import replacing
from robopolicy.core.machine import Lock
from robopolicy.core.spec import Spec
from robopolicy.data import format as fmt
from robopolicy.data import journal, video
from robopolicy.data.damage import DamagedFileError, UnwrittenError, count, parsing
from robopolicy.data.episodes import FOLDER, episode_row, read_rows
from robopolicy.data.files import read_info
from robopolicy.data.stats import describe, describe_histogram, read_histogram

_log = logging.getLogger(__name__)


def recover(root: Path) -> int:
    """Assemble what a killed recorder left behind; returns how many episodes that saved.

    Does nothing, and returns 0, where no journal is or where its recorder is still alive.
    """
    if journal.header(root) is None:
        return 0
    try:
        lock = Lock(root, doing="recovering a recording")
    except UserError:
        return 0
    with lock:
        saved = assemble(root)
    if saved:
        _log.warning("%s: %d episodes of a recorder that was killed were recovered", root, saved)
    return saved


def own_part(root: Path) -> tuple[Spec, list[dict[str, Any]]]:
    """What `meta/robopolicy.json` adds to the format: the spec, and what each assembly knew of its episodes.

    Raises:
        DatasetError: another program wrote the dataset, or the file is damaged.
    """
    path = root / fmt.OWN
    if not path.exists():
        raise DatasetError(
            f"{root} was not recorded by robopolicy ({fmt.OWN} is missing); merge it into a new folder"
        )
    with parsing(path):
        raw = fmt.read_json(path)
        for batch in raw["batches"]:
            count(batch["first_episode"], "first_episode")
            count(batch["num_frames"], "num_frames")
            for seed in batch["seeds"]:
                count(seed, "a seed", least=-1)
            for histogram in batch["histograms"].values():
                read_histogram(histogram)
        return Spec.from_json(json.dumps(raw["spec"])), raw["batches"]


@dataclass(frozen=True, kw_only=True)
class Committed:
    """What `info.json` vouches for: files and rows beyond it are remains of an assembly cut short."""

    info: dict[str, Any]
    rows: list[dict[str, Any]]
    batches: list[dict[str, Any]]

    @property
    def episodes(self) -> int:
        """How many episodes are committed."""
        return len(self.rows)

    def next_file(self, key: str, chunks_size: int) -> tuple[int, int]:
        """The first unused (chunk, file) under `key`, for example `data`."""
        used = [(row[f"{key}/chunk_index"], row[f"{key}/file_index"]) for row in self.rows]
        return _after(max(used), chunks_size) if used else (0, 0)


def _after(at: tuple[int, int], chunks_size: int) -> tuple[int, int]:
    return (at[0] + 1, 0) if at[1] == chunks_size - 1 else (at[0], at[1] + 1)


def committed_part(root: Path) -> Committed:
    """What of the folder's files counts; nothing, where no dataset is yet."""
    if not (root / fmt.INFO).exists():
        return Committed(info={}, rows=[], batches=[])
    info = read_info(root)
    total = info["total_episodes"]
    with parsing(root / fmt.INFO):
        count(info["chunks_size"], "chunks_size", least=1)
    rows = [row for row in read_rows(root) if row["episode_index"] < total]
    for row in rows:
        episode_row(root, info, row)
        with parsing(root / FOLDER):
            count(row["dataset_to_index"], "dataset_to_index")
    batches = [batch for batch in own_part(root)[1] if batch["first_episode"] < total]
    return Committed(info=info, rows=rows, batches=batches)


def assemble(root: Path) -> int:
    """Turn the journal into files of the format; the caller holds the lock. Returns the number of episodes.

    Raises:
        UnwrittenError: the disk is full; nothing that was there is lost.
        DatasetError: a file is damaged.
    """
    known = journal.header(root)
    if known is None:
        return 0
    committed = committed_part(root)
    if committed.info and own_part(root)[0] != known[0]:
        problem = f"its spec is not that of {fmt.OWN}"
        raise DamagedFileError(root / journal.FOLDER, problem, journal.MOVE)
    new = journal.entries(root, committed=committed.episodes)
    if new:
        try:
            _Assembly(root, known[0], known[1], committed, new).run()
        except OSError as error:
            safe = f"{len(new)} finished episodes are safe in {root / journal.FOLDER}"
            fix = f"{safe}: free space, then open the folder again"
            raise UnwrittenError(f"{root} could not be assembled", error, fix) from error
    journal.clear(root)
    return len(new)


class _Assembly:
    """One pass over the journal's new episodes."""

    def __init__(
        self,
        root: Path,
        spec: Spec,
        robot_type: str,
        committed: Committed,
        entries: Sequence[journal.Entry],
    ) -> None:
        self.root, self.spec, self.entries, self.old = root, spec, entries, committed
        self.fps = round(spec.control_hz)
        columns = entries[0].meta["columns"]
        if committed.info:
            self.info = dict(committed.info)
        else:
            videos = {name: video.probe(entries[0].video(name)) for name in spec.images}
            self.info = {
                "codebase_version": fmt.VERSION,
                "robot_type": robot_type,
                "total_episodes": 0,
                "total_frames": 0,
                "total_tasks": 0,
                "chunks_size": fmt.CHUNKS_SIZE,
                "data_files_size_in_mb": fmt.DATA_MB,
                "video_files_size_in_mb": fmt.VIDEO_MB,
                "fps": self.fps,
                "splits": {},
                "data_path": fmt.DATA_PATH,
                "video_path": fmt.VIDEO_PATH if spec.images else None,
                "features": fmt.features_of(spec, columns, videos),
            }
        self.features: dict[str, dict[str, Any]] = self.info["features"]
        self.chunks_size: int = self.info["chunks_size"]
        self.tasks = list(fmt.read_tasks(root).values()) if committed.rows else []
        self.tasks += [t for t in dict.fromkeys(e.meta["text"] for e in entries) if t not in self.tasks]
        self.rows: list[dict[str, Any]] = [{} for _ in entries]

    def run(self) -> None:
        """Write everything; `info.json`, the commitment, comes last."""
        self._data()
        for camera in self.spec.images:
            self._video(camera)
        self._episodes()
        self._write_table(fmt.tasks_table(self.tasks), self.root / fmt.TASKS)
        batches = [*self.old.batches, self._batch()]
        own = {"spec": json.loads(self.spec.to_json()), "batches": batches}
        fmt.write_json(self.root / fmt.OWN, own)
        episodes = self.old.episodes + len(self.entries)
        self.info |= {
            "total_episodes": episodes,
            "total_frames": self.old.info.get("total_frames", 0) + sum(e.length for e in self.entries),
            "total_tasks": len(self.tasks),
            "splits": {"train": f"0:{episodes}"},
        }
        paths = sorted(
            {fmt.resolve(self.root, self.info["data_path"], **_file(row)) for row in self._all_rows()}
        )
        fmt.write_json(self.root / fmt.STATS, dataset_stats(paths, self.features, batches))
        fmt.write_json(self.root / fmt.INFO, self.info)

    def _all_rows(self) -> list[dict[str, Any]]:
        return [*self.old.rows, *self.rows]

    def _data(self) -> None:
        at = self.old.next_file("data", self.chunks_size)
        index = self.old.rows[-1]["dataset_to_index"] if self.old.rows else 0
        groups = _packed([(e, e.size(), None) for e in self.entries], fmt.DATA_MB)
        number = 0
        for group in groups:
            path = fmt.resolve(self.root, fmt.DATA_PATH, chunk_index=at[0], file_index=at[1])
            with replacing(path) as aside, contextlib.ExitStack() as stack:
                writer: pq.ParquetWriter | None = None
                for entry in group:
                    episode, stop = self.old.episodes + number, index + entry.length
                    columns = self._columns(entry, episode, index)
                    self.rows[number] |= {
                        "episode_index": episode,
                        "tasks": [entry.meta["text"]],
                        "length": entry.length,
                        "data/chunk_index": at[0],
                        "data/file_index": at[1],
                        "dataset_from_index": index,
                        "dataset_to_index": stop,
                        "stats": _described(columns),
                    }
                    arrays = {key: fmt.arrow_column(columns[key], self.features[key]) for key in columns}
                    table = pa.table(arrays).replace_schema_metadata(fmt.huggingface_metadata(self.features))
                    if writer is None:
                        options = {"compression": "snappy", "use_dictionary": True}
                        writer = stack.enter_context(pq.ParquetWriter(aside, table.schema, **options))
                    writer.write_table(table.cast(writer.schema))
                    index, number = stop, number + 1
            at = _after(at, self.chunks_size)

    def _columns(self, entry: journal.Entry, episode: int, index: int) -> dict[str, np.ndarray]:
        frames = np.arange(entry.length)
        columns = entry.columns() | {
            "timestamp": (frames / self.fps).astype(np.float32),
            "frame_index": frames,
            "episode_index": np.full(entry.length, episode),
            "index": index + frames,
            "task_index": np.full(entry.length, self.tasks.index(entry.meta["text"])),
        }
        with parsing(entry.folder / "columns.npz", journal.SET_ASIDE):
            for key, feature in self.features.items():
                if feature["dtype"] != "video":
                    fmt.require_column(columns[key], key, feature)
            return {
                key: columns[key] for key, feature in self.features.items() if feature["dtype"] != "video"
            }

    def _video(self, camera: str) -> None:
        key = fmt.CAMERA + camera
        at = self.old.next_file(f"videos/{key}", self.chunks_size)
        number = 0
        sized = [(e, (p := e.video(camera)).stat().st_size, video.signature(p)) for e in self.entries]
        for group in _packed(sized, fmt.VIDEO_MB):
            path = fmt.resolve(self.root, fmt.VIDEO_PATH, video_key=key, chunk_index=at[0], file_index=at[1])
            with replacing(path) as aside:
                video.join([(e.video(camera), e.length) for e in group], aside, fps=self.fps)
            frame = 0
            for entry in group:
                self.rows[number] |= {
                    f"videos/{key}/chunk_index": at[0],
                    f"videos/{key}/file_index": at[1],
                    f"videos/{key}/from_timestamp": frame / self.fps,
                    f"videos/{key}/to_timestamp": (frame + entry.length) / self.fps,
                }
                histogram = np.array(entry.meta["histograms"][camera])
                self.rows[number]["stats"][key] = describe_histogram(histogram, num_frames=entry.length)
                frame += entry.length
                number += 1
            at = _after(at, self.chunks_size)

    def _episodes(self) -> None:
        chunk, file = self.old.next_file("meta/episodes", self.chunks_size)
        columns: dict[str, list[Any]] = {}
        for row in self.rows:
            described = {
                f"stats/{key}/{name}": value.tolist()
                for key, stats in row.pop("stats").items()
                for name, value in stats.items()
            }
            row |= {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file}
            for name, value in {**row, **described}.items():
                columns.setdefault(name, []).append(value)
        path = fmt.resolve(self.root, fmt.EPISODES_PATH, chunk_index=chunk, file_index=file)
        self._write_table(pa.table(columns), path)

    def _batch(self) -> dict[str, Any]:
        """What the format has no place for, of the episodes of this assembly."""
        return {
            "first_episode": self.old.episodes,
            "seeds": [entry.meta["seed"] for entry in self.entries],
            "num_frames": sum(entry.length for entry in self.entries),
            "histograms": {
                fmt.CAMERA + camera: np.sum(
                    [e.meta["histograms"][camera] for e in self.entries], axis=0
                ).tolist()
                for camera in self.spec.images
            },
        }

    def _write_table(self, table: pa.Table, path: Path) -> None:
        with replacing(path) as aside:
            pq.write_table(table, aside, compression="snappy", use_dictionary=True)


def dataset_stats(
    data_paths: Sequence[Path],
    features: Mapping[str, Mapping[str, Any]],
    batches: Sequence[Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """`stats.json` of a whole dataset, from every row; that of cameras from the histograms in `batches`."""
    stats: dict[str, dict[str, Any]] = {}
    for key, feature in features.items():
        if feature["dtype"] in ("video", "image", "string"):
            continue
        parts = [
            fmt.numpy_column(fmt.read_table(path, columns=[key]), key, feature, path=path)
            for path in data_paths
        ]
        stats |= _described({key: np.concatenate(parts)})
    for key in (key for key, feature in features.items() if feature["dtype"] == "video"):
        counted = [batch for batch in batches if key in batch["histograms"]]
        if counted:
            histogram = np.sum([batch["histograms"][key] for batch in counted], axis=0)
            frames = sum(batch["num_frames"] for batch in counted)
            stats[key] = describe_histogram(histogram, num_frames=frames)
    return {key: {name: v.tolist() for name, v in described.items()} for key, described in stats.items()}


def _described(columns: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    return {key: describe(column) for key, column in columns.items() if column.dtype.kind in "biuf"}


def _packed(
    sized: Sequence[tuple[journal.Entry, int, object]], megabytes: int
) -> Iterator[list[journal.Entry]]:
    """Entries (with bytes and kind) in order, in groups of one kind and at most this size (or one entry)."""
    group: list[journal.Entry] = []
    total, last = 0, None
    for entry, size, kind in sized:
        if group and (total + size > megabytes << 20 or kind != last):
            yield group
            group, total = [], 0
        group.append(entry)
        total, last = total + size, kind
    if group:
        yield group


def _file(row: Mapping[str, Any]) -> dict[str, int]:
    return {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
