"""Examines a dataset without trusting it, and sets damaged episodes aside.

Every finding names the file, the episodes it belongs to where it does, and the fix. Quarantine changes no
data: it lists episodes in `meta/quarantine.json`, and the reader skips them and says how many they are.

The statistics of columns are compared with all values. Those of videos are compared with the mean of a few
frames, so a small error in them is not found; their quantiles, and any statistics of pictures within data
files, are only held to their shape. Of a video, those few frames are decoded, of the others it is only found
that they are there.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from robopolicy.core.errors import DatasetError
from robopolicy.core.files import writing
from robopolicy.core.spec import Image
from robopolicy.data import files, journal, origin, video
from robopolicy.data import format as fmt
from robopolicy.data.assemble import own_part
from robopolicy.data.collected import COLLECTED
from robopolicy.data.damage import DamagedFileError
from robopolicy.data.episodes import (
    FOLDER,
    EpisodeRow,
    count_problems,
    episode_row,
    lost_episodes,
    scan_rows,
    span,
)
from robopolicy.data.lerobot import Dataset
from robopolicy.data.stats import FIRST, QUANTILES, wrong_form, wrong_levels, wrong_values

_SET_ASIDE = "restore the file, or set the episode aside with --quarantine"
_OPEN = "finish recording, or open the dataset once"
_TOLERANCE_S = 1e-4  # LeRobot's own
_PICTURES = 32  # frames of a camera that are decoded


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
        episodes = f", {span(self.episodes)}" if self.episodes else ""
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
    except DamagedFileError as error:
        if not any((root / part).is_dir() for part in ("data", "meta")):
            raise
        problem, fix = error.problem, error.fix
        if waiting := sum(1 for _ in (root / journal.FOLDER).glob(f"{journal.EPISODE}*")):
            problem, fix = f"{problem}, but {waiting} recorded episodes wait", _OPEN
        finding = Finding(where=_name(root, error.path), episodes=(), message=problem, fix=fix)
        return Report(findings=(finding,), num_episodes=0, num_frames=0)
    return Report(
        findings=_Checker(root, info).run(),
        num_episodes=info["total_episodes"],
        num_frames=info["total_frames"],
    )


def quarantine(path: str | Path, report: Report) -> dict[int, list[str]]:
    """Set the damaged episodes of a report aside, beside those already there; returns all, with reasons.

    Raises:
        UserError: the disk is full.
    """
    root = Path(path)
    try:
        aside = files.read_quarantine(root) | report.damaged
    except DamagedFileError:  # a finding of its own: all that should be set aside is in the report
        aside = report.damaged
    if aside:
        listed = {str(index): reasons for index, reasons in sorted(aside.items())}
        with writing(root):
            fmt.write_json(root / fmt.QUARANTINE, {"episodes": listed})
    return aside


class _Checker:
    """Examines the parts one after the other; what is wrong is added to `findings`."""

    def __init__(self, root: Path, info: Mapping[str, Any]) -> None:
        self.root, self.info = root, info
        self.features: dict[str, dict[str, Any]] = info["features"]
        self.cameras = fmt.cameras_of(self.features)
        self.columns: dict[str, list[np.ndarray]] = {
            key: [] for key, f in self.features.items() if f["dtype"] not in ("video", "image", "string")
        }
        self.tasks: dict[int, str] | None = None
        self.all_ours = False
        self.findings: list[Finding] = []

    def run(self) -> tuple[Finding, ...]:
        """All that is wrong."""
        self._own()
        rows, damage = scan_rows(self.root)
        for error in damage:
            self._blame(error)
        self._counts(rows)
        by_file: dict[Path, list[EpisodeRow]] = {}
        clips: dict[str, dict[Path, list[EpisodeRow]]] = {camera: {} for camera in self.cameras}
        for raw in rows:
            with self._blaming(raw["episode_index"]):
                row = episode_row(self.root, self.info, raw)
                by_file.setdefault(row.data, []).append(row)
                for camera, clip in row.clips.items():
                    clips[camera].setdefault(clip.path, []).append(row)
        for path, mine in by_file.items():
            self._data(path, mine)
        pictures: dict[str, np.ndarray] = {}
        for camera, videos in clips.items():
            whole = [row for path, mine in videos.items() for row in self._video(path, camera, mine)]
            pictures[self.cameras[camera]] = self._pictures(camera, whole)
        with self._blaming():
            self._stats(pictures)
        if not self.findings:  # the reader has the last word on what it can read
            with self._blaming():
                Dataset(self.root).load("state")
        return _together(self.findings)

    def _own(self) -> None:
        """What does not belong to single episodes: journal, our own files, tasks."""
        total = self.info["total_episodes"]
        with self._blaming():
            journal.header(self.root)
            if waiting := journal.entries(self.root, committed=total):
                message = f"{len(waiting)} recorded episodes are not part of the dataset yet"
                self._say(journal.FOLDER, None, message, _OPEN)
        with self._blaming():
            files.read_quarantine(self.root)
        with self._blaming():
            origin.read(self.root)
        with self._blaming():
            if (self.root / COLLECTED).exists():
                fmt.read_json(self.root / COLLECTED)
        with self._blaming():
            self.tasks = fmt.read_tasks(self.root)
        with self._blaming():
            if (self.root / fmt.OWN).exists():
                # lerobot, where it recorded too, merges quantiles, which only approximates them
                self.all_ours = sum(len(batch["seeds"]) for batch in own_part(self.root)[1]) == total

    def _counts(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for problem in count_problems(self.info, rows):
            self._say(fmt.INFO, None, problem, "correct the count, or restore the episodes")
        for index in lost_episodes(self.info, rows):
            self._say(FOLDER, index, "the episode is missing", _SET_ASIDE)
        for index, times in sorted(Counter(row["episode_index"] for row in rows).items()):
            if times > 1:
                self._say(FOLDER, index, "the episode is there more than once", _SET_ASIDE)

    def _data(self, path: Path, rows: Sequence[EpisodeRow]) -> None:
        keys = list(self.columns)
        table: dict[str, np.ndarray] | None = None
        with self._blaming(*(row.index for row in rows)):
            table = files.read_data(path, self.features, keys, max_rows=self.info["total_frames"] * 2)
        if table is None:
            return
        found = files.rows_by_episode(table)
        for row in rows:
            with self._blaming(row.index):
                at = files.locate(table, found, row.index, row.length, path)
                episode = {key: table[key][at] for key in keys}
                for key, values in episode.items():
                    self.columns[key].append(values)
                for problem in self._problems(episode, row):
                    self._say(_name(self.root, path), row.index, problem, _SET_ASIDE)

    def _problems(self, episode: Mapping[str, np.ndarray], row: EpisodeRow) -> Iterator[str]:
        frames = np.arange(row.length)
        for key, values in episode.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                bad = int(np.argwhere(~np.isfinite(values))[0][0])
                yield f"{key} is not finite at frame {bad}"
        late = np.abs(episode["timestamp"].astype(np.float64) - frames / self.info["fps"])
        if (late > _TOLERANCE_S).any():
            bad = int(np.argmax(late > _TOLERANCE_S))
            said, true = episode["timestamp"][bad], bad / self.info["fps"]
            yield f"timestamp of frame {bad} is {said:.4f}, on the clock it is {true:.4f}"
        if row.first is not None and not np.array_equal(episode["index"], row.first + frames):
            yield f"index does not run from {row.first} on"
        if self.tasks is not None and (unknown := set(episode["task_index"].tolist()) - self.tasks.keys()):
            yield f"task_index {sorted(unknown)} is not in {fmt.TASKS}"

    def _video(self, path: Path, camera: str, rows: Sequence[EpisodeRow]) -> list[EpisodeRow]:
        """Gives the episodes all of whose frames are there."""
        whole: list[EpisodeRow] = []
        with self._blaming(*(row.index for row in rows)):
            numbers = video.frame_numbers(path, fps=self.info["fps"])
            for row in rows:
                start = row.clips[camera].start
                inside = numbers[(numbers >= start) & (numbers < start + row.length)]
                if missing := row.length - len(inside):
                    gaps = np.flatnonzero(inside != start + np.arange(len(inside)))
                    first = start + (int(gaps[0]) if len(gaps) else len(inside))
                    message = f"{missing} of {row.length} frames are missing, the first is {first}"
                    self._say(_name(self.root, path), row.index, message, _SET_ASIDE)
                else:
                    whole.append(row)
        return whole

    def _pictures(self, camera: str, rows: Sequence[EpisodeRow]) -> np.ndarray:
        """A few frames of these episodes at equal distances, `[n C h w]`."""
        height, width, channels = fmt.image_size(self.features[self.cameras[camera]])
        image = Image(height=height, width=width, channels=channels)
        stop = np.cumsum([row.length for row in rows], dtype=np.int64)
        total = int(stop[-1]) if rows else 0
        frames = [np.empty((0, *image.shape), dtype=np.uint8)]
        for at in np.unique(np.linspace(0, total - 1, min(_PICTURES, total)).astype(np.int64)).tolist():
            row = rows[number := int(np.searchsorted(stop, at, side="right"))]
            clip = row.clips[camera]
            one = replace(clip, start=clip.start + at - int(stop[number]) + row.length, length=1)
            frame = np.empty((1, *image.shape), dtype=np.uint8)
            with self._blaming(row.index):
                video.read_clips([one], frame, fps=self.info["fps"], image=image)
                frames.append(frame)
        return np.concatenate(frames)

    def _stats(self, pictures: Mapping[str, np.ndarray]) -> None:
        stats = fmt.read_json(self.root / fmt.STATS)
        names = (*FIRST, *(QUANTILES if self.all_ours else ()))
        for key in (*self.columns, *self.cameras.values()):
            camera, columns = key in self.cameras.values(), self.columns.get(key, [])
            feature = self.features[key]
            shape = (fmt.image_size(feature)[2], 1, 1) if camera else tuple(feature["shape"])
            problem = wrong_form(stats.get(key), names, shape)
            if problem is None and camera and len(frames := pictures.get(key, ())):
                problem = wrong_levels(stats[key], np.asarray(frames))
            # the index columns of lerobot's own statistics are known to drift when recording is resumed
            elif problem is None and columns and key not in fmt.INDEX_FEATURES:
                values = np.concatenate(columns)
                whole = len(values) == self.info["total_frames"] and np.isfinite(values).all()
                problem = wrong_values(stats[key], names, values) if whole else None  # else said above
            if problem is not None:
                self._say(fmt.STATS, None, f"{key}: {problem}", "merge the dataset into a new one")

    def _say(self, where: str, episode: int | None, message: str, fix: str) -> None:
        episodes = () if episode is None else (episode,)
        self.findings.append(Finding(where=where, episodes=episodes, message=message, fix=fix))

    def _blame(self, error: DamagedFileError, *episodes: int) -> None:
        fix = _SET_ASIDE if episodes else error.fix
        for episode in episodes or (None,):
            self._say(_name(self.root, error.path), episode, error.problem, fix)

    @contextlib.contextmanager
    def _blaming(self, *episodes: int) -> Iterator[None]:
        """A damaged file ends the block and becomes a finding, of these episodes."""
        try:
            yield
        except DamagedFileError as error:
            self._blame(error, *episodes)


def _name(root: Path, path: Path) -> str:
    """`path` within the dataset."""
    return str(path.resolve().relative_to(root.resolve()))


def _together(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """What is said of several episodes, said once."""
    found: dict[Finding, list[int]] = {}
    for finding in findings:
        found.setdefault(replace(finding, episodes=()), []).extend(finding.episodes)
    return tuple(replace(finding, episodes=tuple(episodes)) for finding, episodes in found.items())
