"""What holds for every layout."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from recorded import pictures, replay_arrays, write_replay, write_robomimic

from robopolicy.core.errors import DatasetError
from robopolicy.data.convert import convert
from robopolicy.data.importers import ogbench, replay, robomimic
from robopolicy.data.importers.source import Importer
from robopolicy.data.writer import DatasetWriter

ROWS, PARTS = 4, 50


def _ogbench(path: Path) -> None:
    rows = ROWS * PARTS
    ends = np.arange(1, rows + 1) % ROWS == 0
    np.savez(path, observations=pictures(rows, side=64), actions=np.zeros((rows, 2)), terminals=ends)


def _robomimic(path: Path) -> None:
    write_robomimic(path, demos={f"demo_{i}": ROWS for i in range(PARTS)})


def _replay(path: Path) -> None:
    write_replay(path, replay_arrays(ROWS * PARTS), np.arange(1, PARTS + 1) * ROWS)


LAYOUTS: list[tuple[Importer, str, Callable[[Path], None]]] = [
    (ogbench, "a.npz", _ogbench),
    (robomimic, "a.hdf5", _robomimic),
    (replay, "a.zarr", _replay),
]


@pytest.mark.parametrize(("importer", "name", "write"), LAYOUTS)
def test_one_episode_is_in_memory_at_a_time(tmp_path: Path, importer: Importer, name: str, write) -> None:
    write(tmp_path / name)
    with importer.opened(tmp_path / name) as source:
        list(source.takes(source.arrays))  # what the libraries keep is theirs
        size = 0
        tracemalloc.start()
        try:
            with importer.opened(tmp_path / name) as again:
                for take in again.takes(again.arrays):
                    size += sum(array.nbytes for array in take.observation.values())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < size / 4


@pytest.mark.parametrize(("importer", "name", "write"), LAYOUTS)
def test_an_interruption_leaves_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, importer: Importer, name: str, write
) -> None:
    write(tmp_path / name)
    append, seen = DatasetWriter.append, []

    def interrupted(self: DatasetWriter, *args, **kwargs) -> None:
        append(self, *args, **kwargs)
        seen.append(self.num_episodes)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(DatasetWriter, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path / name, tmp_path / "out", control_hz=20)
    assert seen == [1, 2]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_of_no_known_layout_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no file at"):
        convert(tmp_path / "a.npz", tmp_path / "out")
    for name in ("a.pkl", "a.mat", "a"):
        (tmp_path / name).touch()
        with pytest.raises(DatasetError, match=r"no layout .* \.npz, .* \.hdf5, .* \.zarr or \.zarr\.zip"):
            convert(tmp_path / name, tmp_path / "out")
    with pytest.raises(DatasetError, match="no layout"):
        convert(tmp_path, tmp_path / "out")


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    _robomimic(tmp_path / "a.hdf5")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(DatasetError, match="is not empty; choose a new folder"):
        convert(tmp_path / "a.hdf5", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
