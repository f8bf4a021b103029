from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenes import assert_same, make_episode, make_spec

from robopolicy.core.errors import DatasetError, SpecMismatchError
from robopolicy.data import files, video
from robopolicy.data.check import check
from robopolicy.data.collected import COLLECTED
from robopolicy.data.lerobot import open_dataset
from robopolicy.data.merge import merge
from robopolicy.data.writer import DatasetWriter
from robopolicy.train.collect import task_of

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


def test_a_merge_knows_the_tasks_of_its_parts(tmp_path: Path) -> None:
    spec = make_spec()
    asked = {"a": ("t/one", "good"), "b": ("t/one", "bad"), "c": ("t/two", "bad")}
    for name, (task, quality) in asked.items():
        record(tmp_path / name, spec, range(1))
        request = {"task": task, "quality": quality}
        made = {"request": request, "versions": {"mujoco": "3"}, "seeds": 5, "episodes": 1}
        (tmp_path / name / COLLECTED).write_text(json.dumps(made))

    def merged(*names: str) -> tuple[object, object]:
        out = tmp_path / "".join(names)
        facts = merge([tmp_path / name for name in names], out).facts()
        return json.loads((out / COLLECTED).read_text()), facts["task"]

    versions = {"mujoco": "3"}
    assert merged("a", "b") == (
        {"request": {"task": "t/one"}, "versions": versions, "tasks": ["t/one"]},
        ("t/one",),
    )
    several = {"request": {}, "versions": versions, "tasks": ["t/one", "t/two"]}
    assert merged("ab", "c") == (several, ("t/one", "t/two"))
    assert task_of(tmp_path / "abc") is None
    (tmp_path / "c" / COLLECTED).write_text("7")
    assert "task" not in merge([tmp_path / "abc", tmp_path / "c"], tmp_path / "all").facts()


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
