from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenes import assert_same, make_episode, make_spec

from robopolicy.core.errors import DatasetError, SpecMismatchError
from robopolicy.core.types import Window
from robopolicy.data import files, video
from robopolicy.data.check import check
from robopolicy.data.convert import convert
from robopolicy.data.lerobot import open_dataset
from robopolicy.data.merge import merge
from robopolicy.data.sampler import Sampler
from robopolicy.data.writer import DatasetWriter

FIXTURE = Path(__file__).parents[2] / "assets" / "lerobot-v3"


def record(root: Path, spec: object, seeds: range, codec: str | None = None) -> Path:
    with DatasetWriter(root, spec=spec, codec=codec) as writer:  # type: ignore[arg-type]
        for seed in seeds:
            writer.append(make_episode(writer.spec, 5 + seed, seed=seed, text=f"task {seed % 3}"))
    return root


def test_a_merge_holds_every_episode_and_copies_the_video(tmp_path: Path) -> None:
    spec = make_spec(env=1, cameras=("front", "wrist"))
    parts = [
        record(tmp_path / "a", spec, range(0, 2)),
        record(tmp_path / "b", spec, range(2, 4), codec="libx264"),
        record(tmp_path / "c", spec, range(4, 5)),
    ]
    merged = merge(parts, tmp_path / "all")
    store = merged.load()
    assert store.num_episodes == 5
    for i in range(5):
        assert_same(store.episode(i), make_episode(spec, 5 + i, seed=i, text=f"task {i % 3}"))
    sources = np.concatenate([open_dataset(part).load().images["wrist"] for part in parts])
    np.testing.assert_array_equal(store.images["wrist"], sources)  # not encoded a second time
    assert check(tmp_path / "all").findings == ()


def test_a_merge_reads_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = record(tmp_path / "a", make_spec(cameras=("front",)), range(6))
    opened, decoded = [], []

    def read_data(path: Path, *args: Any, **kwargs: Any) -> Any:
        opened.append(path)
        return real_read(path, *args, **kwargs)

    def decode(*args: Any, **kwargs: Any) -> Iterator[Any]:
        for frame in real_decode(*args, **kwargs):
            decoded.append(frame[0])
            yield frame

    real_read, real_decode = files.read_data, video.decode
    monkeypatch.setattr(files, "read_data", read_data)
    monkeypatch.setattr(video, "decode", decode)
    merged = merge([source], tmp_path / "all")
    assert opened == [source / "data/chunk-000/file-000.parquet"]
    assert len(decoded) <= merged.num_frames + 2 * 6  # and a key frame before, a frame behind each episode


def test_datasets_of_lerobot_merge_too(tmp_path: Path) -> None:
    merged = merge([FIXTURE], tmp_path / "ours")
    theirs = open_dataset(FIXTURE, cache=tmp_path / "cache")
    assert merged.spec == theirs.spec
    assert merged.tasks == theirs.tasks
    mine, want = merged.load(), theirs.load()
    np.testing.assert_array_equal(mine.state, want.state)
    np.testing.assert_array_equal(mine.images["front"], want.images["front"])
    assert check(tmp_path / "ours").findings == ()


def test_a_merge_that_fails_leaves_nothing(tmp_path: Path) -> None:
    good, other = (
        record(tmp_path / "a", make_spec(), range(2)),
        record(tmp_path / "b", make_spec(hz=10), range(2)),
    )
    with pytest.raises(SpecMismatchError, match="control_hz"):
        merge([good, other], tmp_path / "all")
    data = good / "data/chunk-000/file-000.parquet"
    data.write_bytes(data.read_bytes()[:-9])
    with pytest.raises(DatasetError, match="cannot be read"):
        merge([good], tmp_path / "all")
    with pytest.raises(DatasetError, match="not empty"):
        merge([other], good)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


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


@pytest.mark.parametrize(
    "change",
    [
        {"masks": np.full(4, 2)},
        {"actions": np.zeros(4)},
        {"rewards": np.zeros(3)},
        {"terminals": np.array(1)},
        {"observations": np.array([["a"]] * 4)},
    ],
)
def test_an_ogbench_file_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    arrays = {"observations": np.zeros((4, 1)), "actions": np.zeros((4, 1)), "terminals": np.zeros(4)}
    np.savez(tmp_path / "play.npz", **(arrays | change))
    with pytest.raises(DatasetError, match="play"):
        convert(tmp_path / "play.npz", tmp_path / "out")


def test_a_file_that_is_not_ogbench_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(DatasetError, match="lacks"):
        convert(tmp_path / "other.npz", tmp_path / "out")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    (tmp_path / "objects.npy").rename(tmp_path / "objects.npz")
    with pytest.raises(DatasetError, match="nothing is unpickled"):
        convert(tmp_path / "objects.npz", tmp_path / "out")
    with pytest.raises(DatasetError, match="npz"):
        convert(tmp_path / "data.pkl", tmp_path / "out")
