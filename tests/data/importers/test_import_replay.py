from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numcodecs.pickles
import numpy as np
import pytest
import zarr
from recorded import replay_arrays, write_replay

from robopolicy.core import suites
from robopolicy.core.errors import ConfigError, DatasetError, SpecMismatchError
from robopolicy.data.check import check
from robopolicy.data.convert import convert
from robopolicy.data.merge import merge

ENDS = np.array([4, 8])  # of 9 rows


@pytest.fixture
def pusht(tmp_path: Path) -> Path:
    write_replay(tmp_path / "pusht.zarr", replay_arrays(), ENDS)
    return tmp_path / "pusht.zarr"


@pytest.mark.parametrize("name", ["pusht.zarr", "pusht.zarr.zip", "folder"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_replay_buffer_is_converted(tmp_path: Path, name: str, zarr_format: int) -> None:
    arrays = replay_arrays()
    write_replay(tmp_path / name, arrays, ENDS, zarr_format=zarr_format)
    dataset = convert(tmp_path / name, tmp_path / "out", control_hz=10)
    store = dataset.load()
    assert store.episode_stop.tolist() == ENDS.tolist()
    keypoints = tuple(f"keypoint.{i}" for i in range(18))
    assert dataset.spec.state.names == (*keypoints, *(f"state.{i}" for i in range(5)))
    state = np.concatenate([arrays["keypoint"].reshape(9, 18), arrays["state"]], axis=1)
    np.testing.assert_array_equal(store.state, state[:8])
    np.testing.assert_array_equal(store.action, arrays["action"][:8])
    want = arrays["img"][:8].transpose(0, 3, 1, 2)
    assert np.abs(store.images["img"].astype(int) - want).mean() < 4
    assert not store.terminated.any()
    assert dataset.origins[0]["file"] == name
    assert check(tmp_path / "out").findings == ()


def test_a_task_takes_what_it_names_in_its_own_order(tmp_path: Path) -> None:
    env = suites.make_env("tabletop/reach")
    env.close()
    names = env.spec.state.names
    assert list(names) != sorted(names)  # the order in which a file has them
    arrays = {name: np.full(5, number, np.float32) for number, name in enumerate(names)}
    arrays |= {"other": np.zeros((5, 2)), "action": np.zeros((5, len(env.spec.action)))}
    write_replay(tmp_path / "reach.zarr", arrays, np.array([5]))
    dataset = convert(tmp_path / "reach.zarr", tmp_path / "out", task="tabletop/reach")
    assert dataset.spec.state == env.spec.state
    assert dataset.spec.control_hz == env.spec.control_hz
    assert dataset.load().state[0].tolist() == list(range(len(names)))
    shutil.rmtree(tmp_path / "reach.zarr" / "data" / names[0])
    with pytest.raises(SpecMismatchError, match=rf"the file has no \['{names[0]}'\]"):
        convert(tmp_path / "reach.zarr", tmp_path / "less", task="tabletop/reach")


def test_what_a_file_of_this_layout_does_not_say_is_asked_for(pusht: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="how many steps a second"):
        convert(pusht, tmp_path / "out")
    with pytest.raises(SpecMismatchError, match="number of actions: the file has 2"):
        convert(pusht, tmp_path / "out", task="tabletop/reach")


def test_what_nobody_says_is_unknown_and_what_the_user_says_is_kept(pusht: Path, tmp_path: Path) -> None:
    silent = convert(pusht, tmp_path / "silent", control_hz=10, cameras=[])
    assert silent.origins[0]["unknown"] == ["control", "success"]
    facts = merge([tmp_path / "silent"], tmp_path / "merged").facts()
    assert facts["success"] == ("0 of 2 episodes (not told by pusht.zarr)",)
    assert facts["control"] == ("absolute", "joint (not told by pusht.zarr)")
    meaning = {"mode": "delta", "frame": "base"}
    told = convert(
        pusht, tmp_path / "told", control_hz=10, cameras=[], semantics=meaning, success=True
    ).facts()
    assert (told["success"], told["control"]) == (("2 of 2 episodes",), ("delta", "base"))
    with pytest.raises(ConfigError, match="mode is 'fast'; one of"):
        convert(pusht, tmp_path / "out", control_hz=10, semantics={"mode": "fast"})
    with pytest.raises(ConfigError, match="unexpected keyword argument 'moed'"):
        convert(pusht, tmp_path / "out", control_hz=10, semantics={"moed": "delta"})


def test_cameras_whose_short_names_are_one_keep_their_own(tmp_path: Path) -> None:
    arrays = replay_arrays()
    two = {"top_image": arrays["img"], "top_rgb": arrays["img"], "action": arrays["action"]}
    write_replay(tmp_path / "two.zarr", two, ENDS)
    assert list(convert(tmp_path / "two.zarr", tmp_path / "out", control_hz=10).spec.images) == list(two)[:2]


def test_nothing_to_observe_is_refused(pusht: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"nothing is observed; choose state of .*'state'.* cameras of .*'img"
    ):
        convert(pusht, tmp_path / "out", control_hz=10, state=[], cameras=[])
    with pytest.raises(DatasetError, match=r"control_hz is 12\.5; .* choose 12"):
        convert(pusht, tmp_path / "out", control_hz=12.5)


def _set(name: str, at: Any, value: Any) -> Callable[[Path], None]:
    return lambda root: zarr.open_group(root, mode="a")[name].__setitem__(at, value)


def _drop(name: str) -> Callable[[Path], None]:
    return lambda root: shutil.rmtree(root / name)


def _put(name: str, values: np.ndarray) -> Callable[[Path], None]:
    return lambda root: zarr.open_group(root, mode="a").create_array(name, data=values, overwrite=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_drop("meta/episode_ends"), "meta has no episode_ends"),
        (_drop("meta"), "no group 'meta'"),
        (_drop("data"), "no group 'data'"),
        (_drop("data/action"), "no array 'action'.*'img', 'keypoint', 'state'"),
        (_set("meta/episode_ends", slice(None), [4, 4]), "does not grow, 4 follows 4"),
        (_set("meta/episode_ends", slice(None), [0, 4]), "does not grow, 0 follows 0"),
        (_set("meta/episode_ends", slice(None), [4, 3]), "does not grow, 3 follows 4"),
        (_set("meta/episode_ends", slice(None), [4, 10]), "has 9 rows, the last of episode_ends is 10"),
        (_put("meta/episode_ends", np.array([4.0, 8.0])), "episode_ends is float64"),
        (_put("meta/episode_ends", np.zeros((0,), np.int64)), "no episode was found"),
        (_put("data/state", np.zeros((5, 2))), "data/state has 5 rows"),
        (_put("data/action", np.zeros(9)), r"data/action has shape \[9\]; 2 axes"),
        (_put("data/state", np.array(["a"] * 9)), "data/state holds .*; only numbers"),
        (_set("data/state", (5, 1), np.nan), "episode 1: state is not finite at frame 1"),
        (_set("data/img", (5, 0, 0, 0), 0.5), r"episode 1: a level of img is 0\.5; whole numbers"),
        (_set("data/img", (5, 0, 0, 0), np.nan), "a level of img is nan"),
        (lambda root: (root / "data/action/0.0").write_bytes(b"abc"), "cannot be read: error during blosc"),
        (lambda root: (root / "data/action/.zarray").write_text("{"), r"pusht\.zarr cannot be read"),
        (lambda root: (root / ".zgroup").unlink(), "must lie at its top"),
        (lambda root: (root / "data/action/9.0").symlink_to("/etc/hostname"), "is a link, which is not"),
    ],
)  # fmt: skip
def test_a_store_that_does_not_fit_is_one_error(pusht: Path, tmp_path: Path, change, said: str) -> None:
    change(pusht)
    with pytest.raises(DatasetError, match=said):
        convert(pusht, tmp_path / "out", control_hz=10)
    assert [path.name for path in tmp_path.iterdir()] == ["pusht.zarr"]


def test_a_store_deeper_in_a_zip_is_one_error(pusht: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as deep:
        for path in pusht.rglob("*"):
            deep.write(path, path.relative_to(tmp_path))
    with pytest.raises(DatasetError, match="unpack it where they lie deeper"):
        convert(tmp_path / "deep.zip", tmp_path / "out", control_hz=10)


class _Owned:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("owned",)


@pytest.mark.parametrize(
    "codecs",
    [
        {"filters": [{"id": "vlen-utf8"}], "compressor": {"id": "pickle"}, "dtype": "|O"},
        {"filters": [{"id": "vlen-utf8"}, {"id": "pickle"}], "compressor": None, "dtype": "|O"},
        {"filters": [{"id": "pickle"}], "compressor": None, "dtype": "|O"},
        {"filters": None, "compressor": {"id": "pickle"}},
    ],
)
@pytest.mark.parametrize("name", ["data/action", "data/more", "meta/episode_ends"])
def test_nothing_is_unpickled(pusht: Path, tmp_path: Path, monkeypatch, codecs: dict, name: str) -> None:
    """Even where the library would do it: a version that does so by default is allowed here."""
    monkeypatch.setattr(numcodecs.pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True)
    monkeypatch.chdir(tmp_path)
    array = pusht / name
    _put(name, np.zeros((9, 2)))(pusht)
    meta = {**json.loads((array / ".zarray").read_text()), "shape": [9], "chunks": [9], **codecs}
    (array / ".zarray").write_text(json.dumps(meta))
    (array / "0").write_bytes(pickle.dumps(_Owned()))
    with pytest.raises(DatasetError, match="'pickle'"):
        convert(pusht, tmp_path / "out", control_hz=10)
    assert not (tmp_path / "owned").exists()
