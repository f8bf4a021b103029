"""Examines a dataset without trusting it, and sets damaged episodes aside.

Every finding names the file, the episodes it belongs to where it does, and the fix. Quarantine changes no
data: it lists episodes in `meta/quarantine.json`, and the reader skips them and says how many they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from robopolicy.core.errors import DatasetError
from robopolicy.data import files, journal, video
from robopolicy.data import format as fmt
from robopolicy.data.assemble import own_part, read_episode_rows
from robopolicy.data.stats import QUANTILES, describe

_SET_ASIDE = "restore the file, or set the episode aside with --quarantine"
_OPEN = "finish recording, or open the dataset once"
_TOLERANCE_S = 1e-4  # LeRobot's own


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Args:
        where: the file, relative to the dataset.
        episodes: those that must be set aside for it; none where the whole dataset is concerned.
        message: what is wrong, with the value.
        fix: what to do.
    """

    where: str
    episodes: tuple[int, ...]
    message: str
    fix: str

    def __str__(self) -> str:
        episodes = f", {files.span(self.episodes)}" if self.episodes else ""
        return f"{self.where}{episodes}: {self.message}; {self.fix}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `check` found.

    Args:
        findings: in the order of the files.
        num_episodes, num_frames: as `info.json` says; 0 where it cannot be used.
    """

    findings: tuple[Finding, ...]
    num_episodes: int
    num_frames: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    @property
    def damaged(self) -> dict[int, list[str]]:
        """The reasons of each episode that should be set aside."""
        reasons: dict[int, list[str]] = {}
        for finding in self.findings:
            for episode in finding.episodes:
                reasons.setdefault(episode, []).append(f"{finding.where}: {finding.message}")
        return dict(sorted(reasons.items()))


def check(path: str | Path) -> Report:
    """Examine every file of the dataset at `path`; quarantined episodes are examined too.

    Raises:
        DatasetError: there is no dataset.
    """
    root = Path(path)
    if not root.is_dir():
        raise DatasetError(f"there is no dataset at {root}; give a folder")
    try:
        info = files.read_info(root)
    except DatasetError as error:
        if not any((root / part).is_dir() for part in ("data", "meta")):
            raise
        message, _, fix = str(error).partition("; ")
        if waiting := journal.entries(root, committed=0):
            message, fix = f"{message}, but {len(waiting)} recorded episodes wait", _OPEN
        finding = Finding(where=fmt.INFO, episodes=(), message=message, fix=fix or "restore the file")
        return Report(findings=(finding,), num_episodes=0, num_frames=0)
    return Report(
        findings=_together(_Checker(root, info).run()),
        num_episodes=info["total_episodes"],
        num_frames=info["total_frames"],
    )


def quarantine(path: str | Path, report: Report) -> dict[int, list[str]]:
    """Set the damaged episodes of a report aside, beside those already there; returns all, with reasons."""
    root = Path(path)
    aside = files.read_quarantine(root) | report.damaged
    if aside:
        fmt.write_json(root / fmt.QUARANTINE, {"episodes": {str(k): v for k, v in sorted(aside.items())}})
    return aside


class _Checker:
    def __init__(self, root: Path, info: Mapping[str, Any]) -> None:
        self.root, self.info = root, info
        self.features: dict[str, dict[str, Any]] = info["features"]
        self.keys = [
            key for key, f in self.features.items() if f["dtype"] not in ("video", "image", "string")
        ]
        self.columns: dict[str, list[np.ndarray]] = {key: [] for key in self.keys}

    def run(self) -> Iterator[Finding]:
        if waiting := journal.entries(self.root, committed=self.info["total_episodes"]):
            message = f"{len(waiting)} recorded episodes are not part of the dataset yet"
            yield self._finding(journal.FOLDER, None, message, _OPEN)
        try:
            rows = read_episode_rows(self.root)
        except DatasetError as error:
            yield self._finding("meta/episodes", None, str(error), "restore it; without it no frame is found")
            return
        yield from self._counts(rows)
        yield from self._tasks()
        by_file: dict[Path, list[dict[str, Any]]] = {}
        clips: dict[tuple[Path, str], list[dict[str, Any]]] = {}
        for row in rows:
            try:
                by_file.setdefault(self._data_path(row), []).append(row)
                for key in self._videos():
                    clips.setdefault((self._video_path(row, key), key), []).append(row)
            except (DatasetError, KeyError, TypeError, ValueError) as error:
                message = f"does not say where the episode is ({error})"
                yield self._finding("meta/episodes", row["episode_index"], message, _SET_ASIDE)
        for path, mine in by_file.items():
            yield from self._data(path, mine)
        yield from self._stats()
        for (path, key), mine in clips.items():
            yield from self._video(path, key, mine)

    def _counts(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
        for problem in files.count_problems(self.info, rows):
            yield self._finding(fmt.INFO, None, problem, "correct the count, or restore the episodes")
        have = [row["episode_index"] for row in rows]
        for index in sorted(set(range(min(self.info["total_episodes"], 1 << 24))) - set(have)):
            yield self._finding("meta/episodes", index, "the episode is missing", _SET_ASIDE)
        for index in sorted(index for index, count in Counter(have).items() if count > 1):
            yield self._finding("meta/episodes", index, "the episode is there more than once", _SET_ASIDE)

    def _tasks(self) -> Iterator[Finding]:
        try:
            self.tasks = fmt.read_tasks(self.root)
        except DatasetError as error:
            self.tasks = None
            yield self._finding(fmt.TASKS, None, str(error), "restore the file; the instructions are in it")

    def _data(self, path: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
        name = self._name(path)
        try:
            table = files.read_data(path, self.features, self.keys, max_rows=self.info["total_frames"] * 2)
        except DatasetError as error:
            for row in rows:
                yield self._finding(name, row["episode_index"], str(error), _SET_ASIDE)
            return
        found = files.rows_by_episode(table)
        for row in rows:
            index = row["episode_index"]
            try:
                at = files.locate(table, found, index, row["length"], path)
            except DatasetError as error:
                yield self._finding(name, index, str(error), _SET_ASIDE)
                continue
            episode = {key: table[key][at] for key in self.keys}
            for key, values in episode.items():
                self.columns[key].append(values)
            for problem in self._problems(episode, row):
                yield self._finding(name, index, problem, _SET_ASIDE)

    def _problems(self, episode: Mapping[str, np.ndarray], row: Mapping[str, Any]) -> Iterator[str]:
        frames = np.arange(row["length"])
        for key, values in episode.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                bad = int(np.argwhere(~np.isfinite(values))[0][0])
                yield f"{key} is not finite at frame {bad}"
        late = np.abs(episode["timestamp"].astype(np.float64) - frames / self.info["fps"])
        if (late > _TOLERANCE_S).any():
            bad = int(np.argmax(late > _TOLERANCE_S))
            said, true = episode["timestamp"][bad], bad / self.info["fps"]
            yield f"timestamp of frame {bad} is {said:.4f}, on the clock it is {true:.4f}"
        first = row.get("dataset_from_index")
        if first is not None and not np.array_equal(episode["index"], first + frames):
            yield f"index does not run from {first} on"
        if self.tasks is not None and (unknown := set(episode["task_index"].tolist()) - self.tasks.keys()):
            yield f"task_index {sorted(unknown)} is not in {fmt.TASKS}"

    def _stats(self) -> Iterator[Finding]:
        try:
            stats = fmt.read_json(self.root / fmt.STATS)
        except DatasetError as error:
            yield self._finding(fmt.STATS, None, str(error), "restore the file")
            return
        names = ["min", "max", "mean", "std", "count", *(QUANTILES if self._all_ours() else ())]
        for key in self.keys:
            values = np.concatenate(self.columns[key]) if self.columns[key] else np.empty(0)
            # the index columns of lerobot's own statistics are known to drift when recording is resumed
            if not len(values) or key in fmt.INDEX_FEATURES or key not in stats or values.dtype.kind == "b":
                continue
            if not np.isfinite(values.astype(np.float64)).all():
                continue  # said above
            true = describe(values)
            close = np.abs(true["max"] - true["min"]) * 1e-3 + np.abs(true["mean"]) * 1e-4 + 1e-6
            for name in names:
                said = np.asarray(stats[key].get(name, np.nan), dtype=np.float64)
                want = np.asarray(true[name], dtype=np.float64)
                if said.shape != want.shape or not (np.abs(said - want) <= close).all():
                    message = f"{name} of {key} is {_short(said)}, the data give {_short(want)}"
                    yield self._finding(fmt.STATS, None, message, "merge the dataset into a new one")
                    break

    def _all_ours(self) -> bool:
        """Whether no other program recorded here: lerobot merges quantiles, which only approximates them."""
        if not (self.root / fmt.OWN).exists():
            return False
        return sum(len(b["seeds"]) for b in own_part(self.root)[1]) == self.info["total_episodes"]

    def _video(self, path: Path, key: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
        name = self._name(path)
        try:
            numbers = video.frame_numbers(path, fps=self.info["fps"])
        except DatasetError as error:
            for row in rows:
                yield self._finding(name, row["episode_index"], str(error), _SET_ASIDE)
            return
        for row in rows:
            start = round(row[f"videos/{key}/from_timestamp"] * self.info["fps"])
            missing = set(range(start, start + row["length"])) - numbers
            if missing:
                message = f"{len(missing)} of {row['length']} frames are missing, the first is {min(missing)}"
                yield self._finding(name, row["episode_index"], message, _SET_ASIDE)

    def _videos(self) -> list[str]:
        return [key for key, feature in self.features.items() if feature["dtype"] == "video"]

    def _data_path(self, row: Mapping[str, Any]) -> Path:
        at = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        return fmt.resolve(self.root, self.info["data_path"], **at)

    def _video_path(self, row: Mapping[str, Any], key: str) -> Path:
        at = {name: row[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
        return fmt.resolve(self.root, self.info["video_path"], video_key=key, **at)

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.root.resolve()))

    def _finding(self, where: str, episode: int | None, message: str, fix: str) -> Finding:
        said = message.split("; ")[0]  # an error brings a fix of its own behind the semicolon
        episodes = () if episode is None else (episode,)
        return Finding(where=where, episodes=episodes, message=said, fix=fix)


def _together(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """What is said of several episodes, said once."""
    found: dict[Finding, list[int]] = {}
    for finding in findings:
        found.setdefault(replace(finding, episodes=()), []).extend(finding.episodes)
    return tuple(replace(finding, episodes=tuple(episodes)) for finding, episodes in found.items())


def _short(values: np.ndarray) -> str:
    listed = ", ".join(f"{value:.4g}" for value in values.ravel()[:4])
    return f"[{listed}{', ...' if values.size > 4 else ''}]"
