from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from recorded import pictures

from robopolicy.core import suites
from robopolicy.core.errors import DatasetError, SpecMismatchError, UnknownNameError
from robopolicy.core.types import Window
from robopolicy.data.convert import convert
from robopolicy.data.sampler import Sampler


def test_an_ogbench_file_is_converted(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    ends, masks = np.zeros(12), np.ones(12)
    ends[[4, 11]] = 1
    masks[11] = 0
    arrays = {
        "observations": random.standard_normal((12, 3)).astype(np.float32),
        "actions": random.standard_normal((12, 2)).astype(np.float32),
        "terminals": ends,
        "rewards": -masks,
        "masks": masks,
    }
    np.savez(tmp_path / "play.npz", **arrays)
    dataset = convert(tmp_path / "play.npz", tmp_path / "out", control_hz=20, text="cube")
    store = dataset.load()
    assert store.episode_stop.tolist() == [5, 12]
    assert store.terminated.tolist() == [False, True]
    np.testing.assert_array_equal(store.state, arrays["observations"])
    np.testing.assert_array_equal(store.reward, arrays["rewards"])
    assert dataset.spec.control_hz == 20
    assert store.columns["next.mask"].tolist() == (masks == 1).tolist()
    assert dataset.tasks == {0: "cube"}


def test_a_success_within_an_ogbench_episode_ends_what_is_bootstrapped_but_no_chunk(tmp_path: Path) -> None:
    """Play goes on after a success: chunks that pass through it have no value behind them, and are whole."""
    ends, masks = np.zeros(10), np.ones(10)
    ends[9], masks[[4, 5]] = 1, 0
    arrays = {"observations": np.zeros((10, 1)), "actions": np.arange(10.0)[:, None], "terminals": ends}
    np.savez(tmp_path / "play.npz", **arrays, rewards=-masks, masks=masks)
    store = convert(tmp_path / "play.npz", tmp_path / "out").load()
    assert store.success.tolist() == [True]
    assert store.terminated.tolist() == [False]
    window = Window(chunk=(0, 3), bootstrap=3, discount=0.5, mc_return=True)
    sequence = Window(sequence=3, discount=0.5)
    sampler = Sampler(store=store, windows={"a": window, "b": sequence}, batch_size=1, seed=0)
    batch = sampler.at(np.arange(7))
    assert batch.discount is not None
    assert batch.discount.tolist() == [0.125, 0.125, 0, 0, 0, 0, 0.125]  # rows 2 to 5 pass through 4 or 5
    assert batch.reward is not None
    assert batch.reward.tolist() == [-1.75, -1.75, -1.5, -1, -0.5 + 0.25, -0.75, -1.75]
    assert not batch.is_pad.any()
    assert batch.extra["mc_return"].tolist()[:6] == [-1.875, -1.75, -1.5, -1, 0, 0]
    assert batch.views["b"].discount[3].tolist() == [0.5, 0, 0]


def visual(rows: int = 6) -> dict[str, np.ndarray]:
    """As in OGBench's visual sets: pictures are all that is observed."""
    ends = np.arange(rows) == rows - 1
    return {"observations": pictures(rows), "actions": np.zeros((rows, 2)), "terminals": ends}


def test_pictures_become_a_camera(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "visual.npz", **visual(), qpos=np.zeros((6, 9)))
    dataset = convert(tmp_path / "visual.npz", tmp_path / "out")
    assert dataset.spec.state.names == ()
    frames = dataset.load().images["pixels"]
    assert np.abs(frames.astype(int) - pictures(6).transpose(0, 3, 1, 2)).mean() < 4


def test_a_task_gives_its_names_and_refuses_the_file_of_another(tmp_path: Path) -> None:
    env = suites.make_env("tabletop/reach")
    env.close()
    size, actions = len(env.spec.state), len(env.spec.action)
    arrays = {"observations": np.ones((4, size)), "actions": np.zeros((4, actions)), "terminals": np.zeros(4)}
    np.savez(tmp_path / "reach.npz", **arrays)
    dataset = convert(tmp_path / "reach.npz", tmp_path / "out", task="tabletop/reach")
    assert (dataset.spec.state, dataset.spec.action) == (env.spec.state, env.spec.action)
    assert dataset.spec.semantics == env.spec.semantics
    assert dataset.spec.control_hz == env.spec.control_hz
    np.savez(tmp_path / "other.npz", **{**arrays, "observations": np.zeros((4, size + 1))})
    said = f"elements of the state: the file has {size + 1}, the task has {size}"
    with pytest.raises(SpecMismatchError, match=said):
        convert(tmp_path / "other.npz", tmp_path / "other", task="tabletop/reach")
    np.savez(tmp_path / "other.npz", **{**arrays, "actions": np.zeros((4, actions + 1))})
    with pytest.raises(SpecMismatchError, match=f"number of actions: the file has {actions + 1}"):
        convert(tmp_path / "other.npz", tmp_path / "other", task="tabletop/reach")
    with pytest.raises(UnknownNameError, match="did you mean 'tabletop/reach'"):
        convert(tmp_path / "other.npz", tmp_path / "other", task="tabletop/raech")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"masks": np.full(4, 2)}, "masks holds .2.*; 0 and 1 are meant"),
        ({"actions": np.zeros(4)}, r"actions has shape \[4\]; 2 axes are meant"),
        ({"actions": np.zeros((4, 0))}, "none empty but the first"),
        ({"actions": np.asfortranarray(np.zeros((4, 2)))}, "actions lies column by column"),
        ({"actions": np.full((4, 1), np.nan)}, "episode 0: action is not finite at frame 0"),
        ({"rewards": np.zeros(3)}, "differ in their numbers of rows"),
        ({"terminals": np.array(1)}, r"terminals has shape \[\]"),
        ({"observations": np.array([["a"]] * 4)}, "observations holds <U1; only numbers"),
        ({"observations": np.array([[{}]] * 4)}, "observations holds object; .* nothing is unpickled"),
        (visual(4) | {"observations": pictures(4) / 255}, r"a level of pixels is 0\.\d+; whole numbers"),
        ({name: np.zeros((0, 1)[: 1 + (name[0] != "t")]) for name in visual()}, "no episode was found"),
    ],
)
def test_an_ogbench_file_that_does_not_fit_is_refused(tmp_path: Path, change: dict, said: str) -> None:
    arrays = {"observations": np.zeros((4, 1)), "actions": np.zeros((4, 1)), "terminals": np.zeros(4)}
    np.savez(tmp_path / "play.npz", **(arrays | change))
    with pytest.raises(DatasetError, match=said):
        convert(tmp_path / "play.npz", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["play.npz"]


def test_a_file_that_is_not_ogbench_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(DatasetError, match="lacks"):
        convert(tmp_path / "other.npz", tmp_path / "out")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(DatasetError, match=r"text\.npz cannot be read"):
        convert(tmp_path / "text.npz", tmp_path / "out")


def test_an_array_that_ends_too_early_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", **visual())
    with zipfile.ZipFile(tmp_path / "whole.npz") as whole, zipfile.ZipFile(tmp_path / "cut.npz", "w") as cut:
        for name in whole.namelist():
            cut.writestr(name, whole.read(name)[: -8 if name == "actions.npy" else None])
    with pytest.raises(DatasetError, match="actions ends 8 bytes too early"):
        convert(tmp_path / "cut.npz", tmp_path / "out")
