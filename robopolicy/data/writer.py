"""LeRobotDataset v3.0 writer: episodes are journalled as they finish and assembled on every exit path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from robopolicy.core.errors import DatasetError, SpecMismatchError
from robopolicy.core.machine import LOCK, Lock
from robopolicy.core.spec import Spec
from robopolicy.core.types import Episode
from robopolicy.data import format as fmt
from robopolicy.data import journal
from robopolicy.data.assemble import assemble, committed_part, own_part
from robopolicy.data.store import check_episode
from robopolicy.data.video import Clip, codec_for

MAX_SECONDS = 2048  # beyond it float32 time stamps are off by more than LeRobot's tolerance of 0.1 ms


class DatasetWriter:
    """Records episodes into a folder; use it as a context manager.

    Args:
        path: a new folder, or a dataset that this class wrote: recording goes on there.
        spec: of the episodes; equal to the dataset's where there is one.
        robot_type: kept in `info.json`.
        codec: `libsvtav1` or `libx264`; by default the first one that PyAV has and that takes the size.

    Raises:
        UserError: another process records there, or the folder cannot be written.
        DatasetError: the folder holds something else, or no codec takes a camera's size.
        SpecMismatchError: the folder holds episodes of another spec.
    """

    def __init__(
        self, path: str | Path, *, spec: Spec, robot_type: str = "unknown", codec: str | None = None
    ) -> None:
        self.root, self.spec = Path(path), spec
        self._codec = codec
        if abs(spec.control_hz - round(spec.control_hz)) > 1e-9:
            raise DatasetError(
                f"control_hz is {spec.control_hz:g}; the format holds whole frames a second only: choose "
                f"{max(1, round(spec.control_hz))}, and resample what is recorded already"
            )
        for image in spec.images.values():  # rather than after the first episode
            codec_for(image.height, image.width, codec)
        self._lock: Lock | None = Lock(self.root, doing="recording", kind="dataset")
        try:
            self._open(robot_type)
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finalize()

    @property
    def num_episodes(self) -> int:
        """Episodes that are safe: those of the dataset and those in the journal."""
        return self._next

    def append(self, episode: Episode, *, videos: Mapping[str, Clip] | None = None) -> None:
        """Keep a finished episode; when this returns, a killed process does not lose it.

        Episodes longer than LeRobot's time stamps can tell are split; only the last part terminates. Cameras
        in `videos` (where the episode's frames already are on disk) are copied without loss if they can be.

        Raises:
            DatasetError: it does not fit the spec or the earlier episodes' columns, or the disk is full.
        """
        if self._lock is None:
            raise DatasetError(f"{self.root} was finalized; open a new writer to record more")
        check_episode(episode, self.spec, name=f"episode {self._next}")
        columns = fmt.column_features(episode.columns)
        if self._columns is not None and columns != self._columns:
            raise DatasetError(
                f"episode {self._next} has columns {columns}, the earlier ones have {self._columns}; "
                "record them into another folder"
            )
        parts = list(split(episode, max_steps=int(MAX_SECONDS * self.spec.control_hz)))
        clips = videos if videos and len(parts) == 1 else {}
        for part in parts:
            journal.write(self.root, self._next, part, self.spec, codec=self._codec, videos=clips)
            self._next += 1
        self._columns = columns

    def finalize(self) -> None:
        """Assemble what was recorded and let go of the folder. A second call does nothing.

        Raises:
            DatasetError: the disk is full; the episodes stay in the journal and are assembled at the next
                opening.
        """
        if self._lock is None:
            return
        try:
            assemble(self.root)
        finally:
            self._release()

    def _open(self, robot_type: str) -> None:
        known = journal.header(self.root)
        if known is None and (self.root / fmt.INFO).exists():
            known = own_part(self.root)[0], str(fmt.read_json(self.root / fmt.INFO).get("robot_type"))
        elif known is None and any(item.name != LOCK for item in self.root.iterdir()):
            raise DatasetError(f"{self.root} holds files but no dataset; record into an empty folder")
        if known is not None:
            if known[0] != self.spec:
                self.spec.require(known[0], wanted_by="the recorder", offered_by=str(self.root))
                raise SpecMismatchError(
                    f"{self.root} was recorded with another spec (bounds, or more elements or cameras than "
                    "the recorder has); record into another folder"
                )
            assemble(self.root)
            robot_type = known[1]
        committed = committed_part(self.root)
        self._next, self._columns = committed.episodes, None
        if committed.info:
            features, own = committed.info["features"], fmt.features_of(self.spec, {}, _no_videos(self.spec))
            self._columns = {
                key: {"dtype": feature["dtype"], "shape": list(feature["shape"])}
                for key, feature in features.items()
                if key not in own
            }
        journal.begin(self.root, self.spec, robot_type)

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def split(episode: Episode, *, max_steps: int) -> Iterator[Episode]:
    """An episode in parts of at most `max_steps`; all but the last one end by time."""
    for start in range(0, len(episode), max_steps):
        stop = min(start + max_steps, len(episode))
        last = stop == len(episode)
        yield replace(
            episode,
            state=episode.state[start:stop],
            action=episode.action[start:stop],
            reward=episode.reward[start:stop],
            terminated=episode.terminated and last,
            success=episode.success and last,
            images={name: frames[start:stop] for name, frames in episode.images.items()},
            source=episode.source[start:stop],
            columns={name: column[start:stop] for name, column in episode.columns.items()},
        )


def _no_videos(spec: Spec) -> dict[str, dict[str, object]]:
    return {name: {} for name in spec.images}
