"""Finished episodes waiting to be assembled into a dataset: what makes a killed recorder lose nothing
finished.

Each episode is a folder `.journal/episode-000007/` (`columns.npz`, `episode.json`, an mp4 per camera),
written aside and renamed in when complete. A half-written one has another name and is swept away. One writer
at a time holds the folder's lock (`core.machine.Lock`).
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robopolicy.core.files import publish
from robopolicy.core.spec import Spec
from robopolicy.core.types import Episode
from robopolicy.data import format as fmt
from robopolicy.data import video
from robopolicy.data.damage import UnwrittenError, count, parsing
from robopolicy.data.stats import image_histogram, read_histogram
from robopolicy.data.store import SOURCES, source_codes

FOLDER = ".journal"
EPISODE = "episode-"
MOVE = "restore it, or move the folder .journal elsewhere"
SET_ASIDE = "move the folder of the episode out of the journal"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One finished episode: its folder and what `episode.json` says."""

    folder: Path
    meta: dict[str, Any]

    @property
    def length(self) -> int:
        """How many steps it has."""
        return int(self.meta["length"])

    def columns(self) -> dict[str, np.ndarray]:
        """Feature key to `[L ...]`; vectors and scalars, without the index columns.

        Raises:
            DamagedFileError: the file cannot be read, or a column is not as long as the episode.
        """
        path = self.folder / "columns.npz"
        with parsing(path, SET_ASIDE):
            try:
                with np.load(path, allow_pickle=False) as arrays:
                    columns = {key: arrays[key] for key in arrays.files}
            except zipfile.BadZipFile as error:
                raise ValueError(str(error)) from error
            if lengths := {key: len(c) for key, c in columns.items() if len(c) != self.length}:
                raise ValueError(f"the episode has {self.length} steps, {lengths}")
        return columns

    def size(self) -> int:
        """Bytes of its columns."""
        return (self.folder / "columns.npz").stat().st_size

    def video(self, camera: str) -> Path:
        """The episode's own mp4 of a camera."""
        return self.folder / f"{camera}.mp4"


def begin(root: Path, spec: Spec, robot_type: str) -> None:
    """Say what the episodes to come are, so that they can be assembled without the recorder.

    Raises:
        UnwrittenError: the disk refuses.
    """
    header = {"spec": json.loads(spec.to_json()), "robot_type": robot_type}
    try:
        (root / FOLDER).mkdir(parents=True, exist_ok=True)
        fmt.write_json(root / FOLDER / "header.json", header)
    except OSError as error:
        raise UnwrittenError(f"{root} cannot be written", error, "free space there") from error


def header(root: Path) -> tuple[Spec, str] | None:
    """What `begin` said, or None where no journal is."""
    path = root / FOLDER / "header.json"
    if not path.exists():
        return None
    with parsing(path, MOVE):
        raw = fmt.read_json(path)
        spec = Spec.from_json(json.dumps(raw["spec"]))
        if abs(spec.control_hz - round(spec.control_hz)) > 1e-9 or not 0 < spec.control_hz <= 10_000:
            raise ValueError(f"control_hz is {spec.control_hz}, whole frames a second are meant")
        return spec, str(raw["robot_type"])


def entries(root: Path, *, committed: int) -> list[Entry]:
    """The finished episodes from number `committed` on, in order; earlier ones are in the dataset already.

    Raises:
        DamagedFileError: one of them cannot be read.
    """
    found = []
    for folder in (root / FOLDER).glob(f"{EPISODE}*"):
        with parsing(folder, SET_ASIDE):
            number = int(folder.name.removeprefix(EPISODE))
        if number >= committed:
            found.append((number, folder))
    return [_entry(folder) for _, folder in sorted(found)]


def _entry(folder: Path) -> Entry:
    path = folder / "episode.json"
    with parsing(path, SET_ASIDE):
        meta = fmt.read_json(path)
        count(meta["length"], "length", least=1)
        count(meta["seed"], "seed", least=-1)
        if not isinstance(meta["text"], str) or not isinstance(meta["columns"], dict):
            raise ValueError("text or columns are of another type")
        for histogram in meta["histograms"].values():
            read_histogram(histogram)
    return Entry(folder=folder, meta=meta)


def clear(root: Path) -> None:
    """Remove the journal: its episodes are part of the dataset now."""
    shutil.rmtree(root / FOLDER, ignore_errors=True)


def write(
    root: Path,
    index: int,
    episode: Episode,
    spec: Spec,
    *,
    codec: str | None,
    videos: Mapping[str, video.Clip],
) -> None:
    """Add a finished episode under number `index`; it is there completely or not at all.

    Cameras in `videos` are copied from there rather than encoded again.
    """
    aside = root / FOLDER / f".half-{index:06d}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        np.savez(aside / "columns.npz", **_columns(episode, spec))
        meta = {
            "length": len(episode),
            "text": episode.text,
            "seed": int(episode.seed),
            "columns": fmt.column_features(episode.columns),
            "histograms": {c: image_histogram(episode.images[c]).tolist() for c in spec.images},
        }
        (aside / "episode.json").write_text(json.dumps(meta), encoding="utf-8")
        fps = round(spec.control_hz)
        for camera in spec.images:
            path = aside / f"{camera}.mp4"
            if camera not in videos or not video.cut(videos[camera], path, fps=fps):
                video.encode(path, episode.images[camera], fps=fps, codec=codec)
        publish(aside, root / FOLDER / f"{EPISODE}{index:06d}")
    except OSError as error:
        what = f"episode {index} of {root} could not be written"
        fix = f"the {index} episodes before it are safe: free space, then record into the same folder again"
        raise UnwrittenError(what, error, fix) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _columns(episode: Episode, spec: Spec) -> dict[str, Any]:
    length = len(episode)
    over = np.zeros(length, dtype=bool)
    over[-1] = True
    robot, world = fmt.split_state(spec)
    values = {
        fmt.STATE: episode.state[:, spec.state.indices(robot)],
        fmt.ENV_STATE: episode.state[:, spec.state.indices(world)],
        fmt.ACTION: episode.action,
        fmt.REWARD: episode.reward,
        fmt.DONE: over,
        fmt.TRUNCATED: over & (not episode.terminated),
        fmt.SUCCESS: over & episode.success,
        fmt.SOURCE: np.array(SOURCES)[source_codes(episode)],
        **episode.columns,
    }
    return {key: np.asarray(value) for key, value in values.items() if np.asarray(value).size}
