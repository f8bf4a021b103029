"""Records episodes for the Rerun viewer: a guest of the acting loop that writes one `.rrd` file.

    observation/state/<name>    each element of the state
    observation/images/<name>   each camera, as JPEG
    action/<name>               each element of what was applied
    reward, success             of each step

Timelines: `frame` counts control steps over the whole file, `sim_time` is the time in the episode and
`episode` counts episodes. Nothing else in the project imports rerun.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType

import numpy as np
import rerun as rr
import rerun.blueprint as rrb

from robopolicy.core.errors import UserError
from robopolicy.core.files import replacing
from robopolicy.core.spec import Spec
from robopolicy.core.types import Step

JPEG_QUALITY = 85


class RerunWriter:
    """An observer of one row, and a context manager: the file is there, and whole, when its block ends. A
    block that fails, or a disk that refuses, leaves what was there before.

    The recording is held in memory until then (images as JPEG): Rerun's own file sink only logs that a disk
    is full, and leaves what it had written by then.

    Args:
        path: of the `.rrd`; its folder is made.
        spec: of the environment; gives names and control rate.
        row: which row of a group to record.
        name: of the recording, shown by the viewer.

    Raises:
        UserError: the file cannot be written; before anything is recorded, where that can be told.
    """

    def __init__(self, path: Path | str, *, spec: Spec, row: int = 0, name: str = "robopolicy") -> None:
        self.spec, self._row = spec, row
        self._frame, self._episode, self._tick = 0, -1, 0
        self._path = Path(path)
        self._stream = rr.RecordingStream(name)
        with self._writing():
            if self._path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            self._path.parent.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=self._path.parent).close()  # a disk that refuses does so now
        self._held = self._stream.memory_recording()
        self._stream.send_blueprint(_blueprint(spec), make_active=False)

    def __enter__(self) -> RerunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with self._writing(), replacing(self._path) as aside:
                    aside.write_bytes(self._held.drain_as_bytes())
        finally:
            self._stream.disconnect()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self._path} cannot be written ({error.strerror or error}); free some space or choose "
                "another file"
            ) from error

    def start(self, row: int, step: Step, seed: int) -> None:
        """An episode begins in `row`."""
        if row != self._row:
            return
        self._episode += 1
        self._tick = 0
        self._log(step)
        self._stream.log("episode", rr.TextLog(f"episode {self._episode}, seed {seed}{_text(step)}"))

    def step(self, row: int, step: Step) -> None:
        """One control step was made."""
        if row == self._row:
            self._tick += 1
            self._log(step)

    def end(self, row: int) -> None:
        """The episode of `row` is over."""

    def _log(self, step: Step) -> None:
        stream = self._stream
        stream.set_time("frame", sequence=self._frame)
        stream.set_time("sim_time", duration=self._tick * self.spec.dt)
        stream.set_time("episode", sequence=self._episode)
        self._frame += 1
        self._scalars("observation/state", self.spec.state.names, step.obs.state)
        for name in self.spec.images:
            image = rr.Image(np.moveaxis(step.obs.images[name], 0, -1)).compress(jpeg_quality=JPEG_QUALITY)
            stream.log(f"observation/images/{name}", image)
        if step.applied is not None:
            self._scalars("action", self.spec.action.names, step.applied)
            stream.log("reward", rr.Scalars(step.reward))
            stream.log("success", rr.Scalars(float(step.info.get("success", False))))

    def _scalars(self, folder: str, names: Iterable[str], values: np.ndarray) -> None:
        for name, value in zip(names, values, strict=True):
            self._stream.log(f"{folder}/{name}", rr.Scalars(float(value)))


def _text(step: Step) -> str:
    return f': "{step.obs.text[0]}"' if step.obs.text else ""


def _blueprint(spec: Spec) -> rrb.Blueprint:
    """Cameras above; below them the robot's own state, what was commanded, and how it went."""
    robot = [f"observation/state/{name}" for name in spec.state.names if not name.startswith("env.")]
    curves = rrb.Horizontal(
        rrb.TimeSeriesView(name="state", contents=robot),
        rrb.TimeSeriesView(name="action", origin="action"),
        rrb.TimeSeriesView(name="reward and success", contents=["reward", "success"]),
    )
    cameras = [rrb.Spatial2DView(name=name, origin=f"observation/images/{name}") for name in spec.images]
    views = rrb.Vertical(rrb.Horizontal(*cameras), curves) if cameras else curves
    return rrb.Blueprint(views, collapse_panels=True)
