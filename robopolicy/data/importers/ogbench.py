"""OGBench's `.npz` (Park et al. 2025, arXiv 2410.20092): flat arrays, one row a step.

`observations [F S]` (or `[F h w 3]` uint8 in its visual sets), `actions [F A]`, `terminals [F]` (1 on the
last row of each episode), and in its single-task sets `rewards` and `masks` (0 where the task is solved and
nothing is bootstrapped). Episodes go on after a success. Simulator states (`qpos` ...) are left aside. What
was recorded is told by the file's name alone, as `cube-single-play-v0.npz`; another name tells nothing.

The arrays are read side by side from their beginning to their end, so that a file may be larger than memory.
"""

from __future__ import annotations

import contextlib
import math
import re
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from robopolicy.core.errors import DatasetError
from robopolicy.data.importers.source import Source, Take, reading, require_numbers

NAME = "OGBench's .npz"
_NEEDED = ("observations", "actions", "terminals")
_NAMED = re.compile(r"(?:visual-)?(?P<task>.+)-(?:play|noisy|navigate|stitch|explore)(?:-\w+)?-v\d+(?:-val)?")


def recognises(path: Path) -> bool:
    """See `Importer.recognises`."""
    return path.suffix == ".npz"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Source]:
    """See `Importer.opened`."""
    with reading(path):
        archive = zipfile.ZipFile(path)
    with archive:
        yield _source(path, archive)


def _source(path: Path, archive: zipfile.ZipFile) -> Source:
    there = {name.removesuffix(".npy") for name in archive.namelist()}
    if missing := [name for name in _NEEDED if name not in there]:
        raise DatasetError(f"{path} lacks {missing}; {NAME} has {list(_NEEDED)}")
    names = [name for name in (*_NEEDED, "rewards", "masks") if name in there]
    columns = {name: _Column(path, archive, name) for name in names}
    rows = {name: column.shape[0] for name, column in columns.items()}
    if len(set(rows.values())) > 1:
        raise DatasetError(f"{path}: the arrays differ in their numbers of rows: {rows}")
    ends = columns.pop("terminals").take(rows["terminals"]) != 0
    shape = columns["observations"].shape[1:]
    observed = "pixels" if len(shape) == 3 else "state"
    named = _NAMED.fullmatch(path.stem)

    def takes(names: Collection[str]) -> Iterator[Take]:
        start = 0
        for number, stop in enumerate(_stops(ends)):
            part = {name: column.take(stop - start) for name, column in columns.items()}
            masks = part.get("masks")
            if masks is not None and not np.isin(masks, (0, 1)).all():
                raise DatasetError(f"{path}: masks holds {np.unique(masks)[:5]}; 0 and 1 are meant")
            yield Take(
                name=f"episode {number}",
                observation={observed: part["observations"]} if observed in names else {},
                action=part["actions"],
                reward=part.get("rewards"),
                mask=None if masks is None else masks != 0,
                success=masks is not None and not masks.all(),
            )
            start = stop

    return Source(
        arrays={observed: shape},
        action_size=columns["actions"].shape[1],
        takes=takes,
        usual_hz=20.0,  # in its manipulation tasks
        tells_success="masks" in columns,
        in_order=True,
        origin={"simulator": "ogbench", "task": named["task"]} if named else {},
    )


def _stops(ends: np.ndarray) -> list[int]:
    """Where each episode stops; rows behind the last mark are an episode of their own."""
    stops = (np.flatnonzero(ends) + 1).tolist()
    return stops if not len(ends) or ends[-1] else [*stops, len(ends)]


class _Column:
    """One array of the archive, read from its beginning to its end."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, name: str) -> None:
        self._path, self._name = path, name
        with reading(path):
            self._stream = archive.open(f"{name}.npy")
            version = np.lib.format.read_magic(self._stream)
            header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            self.shape, by_column, self._dtype = header[version](self._stream)
        axes = {"actions": 2, "observations": 4 if len(self.shape) == 4 else 2}.get(name, 1)
        require_numbers(path, name, self._dtype, self.shape, axes=axes)
        if by_column and axes > 1:
            raise DatasetError(f"{path}: {name} lies column by column; save np.ascontiguousarray of it")

    def take(self, rows: int) -> np.ndarray:
        """The next rows."""
        shape = (rows, *self.shape[1:])
        size = math.prod(shape) * self._dtype.itemsize
        with reading(self._path):
            data = self._stream.read(size)
            if len(data) != size:
                raise ValueError(f"{self._name} ends {size - len(data)} bytes too early")
            return np.frombuffer(data, self._dtype).reshape(shape)
