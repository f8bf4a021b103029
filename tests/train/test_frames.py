"""A run that learns from frames, moved at random in training and as they are in validation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from robopolicy.core.types import Episode
from robopolicy.data import video
from robopolicy.data.lerobot import open_dataset
from robopolicy.data.writer import DatasetWriter
from robopolicy.testing import tiny_spec, tiny_store
from robopolicy.train.log import read_log
from robopolicy.train.run import train


def record(folder: Path) -> Path:
    spec = tiny_spec(images=True)
    store = tiny_store(spec)
    with DatasetWriter(folder, spec=spec) as writer:
        for number, (start, stop) in enumerate(zip(store.episode_start, store.episode_stop, strict=True)):
            rows = slice(start, stop)
            writer.append(
                Episode(
                    state=store.state[rows],
                    action=store.action[rows],
                    reward=store.reward[rows],
                    images={name: frames[rows] for name, frames in store.images.items()},
                    terminated=bool(store.terminated[number]),
                    success=bool(store.success[number]),
                    source=("expert",) * int(stop - start),
                    seed=number,
                )
            )
    return folder


def logged(data: Path, out: Path, **changes: Any) -> list[dict[str, Any]]:
    config = {
        "policy": {"_target_": "robopolicy.policies.flow.FlowPolicy", "horizon": 4},
        "data": str(data),
        "observe": "all",
        "batch_size": 8,
        "steps": 4,
        "log_every": 1,
        "validate_every": 4,
        "validation": 0.3,
        **changes,
    }
    train(config, out, report=lambda done, of: None)
    return read_log(out)


def test_frames_are_moved_in_training_and_not_in_validation(tmp_path: Path):
    data = record(tmp_path / "data")
    frozen = {"optim": {"lr": 1e-30}}  # so that the losses differ by what was seen alone
    still, moved, again = (
        logged(data, tmp_path / name, image_shift=shift, **frozen)
        for name, shift in (("still", 0), ("moved", 3), ("again", 3))
    )

    def values(lines: list[dict[str, Any]], key: str) -> list[float]:
        return [line[key] for line in lines if key in line]

    assert len(values(still, "loss/policy")) == 4
    assert values(still, "loss/policy") != values(moved, "loss/policy")
    assert values(moved, "loss/policy") == values(again, "loss/policy")
    assert values(still, "validation/loss/policy") == values(moved, "validation/loss/policy")


def test_a_run_leaves_quarantined_episodes_out(tmp_path: Path):
    data = record(tmp_path / "data")
    (data / "meta" / "quarantine.json").write_text('{"episodes": {"1": ["too dark"]}}')
    assert open_dataset(data).num_episodes == 3
    assert logged(data, tmp_path / "run")[-1]["step"] == 4


def test_a_second_training_decodes_no_video_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = record(tmp_path / "data")
    decoded = []

    def decode(*args: Any, **kwargs: Any) -> Iterator[Any]:
        decoded.append(args)
        yield from real(*args, **kwargs)

    real = video.decode
    monkeypatch.setattr(video, "decode", decode)
    first = logged(data, tmp_path / "first")
    assert decoded
    decoded.clear()
    again = logged(data, tmp_path / "again")
    assert not decoded
    assert [line.get("loss") for line in again] == [line.get("loss") for line in first]
    (data / ".cache").rename(tmp_path / "old")
    (data / ".cache").write_text("no folder can be made here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    logged(data, tmp_path / "elsewhere")
    assert list((tmp_path / "home" / "robopolicy").glob("data-*/*.npy"))
