"""Damaged datasets at the command line: what is wrong in one message, and no traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

FIXTURE = Path(__file__).parents[2] / "assets" / "lerobot-v3"


@pytest.mark.parametrize(
    "name", ["meta/info.json", "meta/tasks.parquet", "meta/episodes/chunk-000/file-000.parquet"]
)
def test_a_damaged_file_is_named_by_every_command(cli, mistake, tmp_path: Path, name: str) -> None:
    root = shutil.copytree(FIXTURE, tmp_path / "damaged")
    (root / name).write_text("[1]")
    found = cli("data", "check", str(root))
    assert found.status == 1
    assert name in found.out
    assert name in mistake("data", "info", str(root))
    assert name in mistake("data", "merge", str(root), str(FIXTURE), "merged")
    assert name in mistake("train", f"data={root}", "output=run")


def test_stats_that_hold_nothing_are_found(cli, tmp_path: Path) -> None:
    root = shutil.copytree(FIXTURE, tmp_path / "damaged")
    (root / "meta/stats.json").write_text("[]")
    found = cli("data", "check", str(root))
    assert found.status == 1
    assert "meta/stats.json: is damaged" in found.out


def test_info_says_what_was_recorded_and_no_more(cli, tmp_path: Path) -> None:
    said = cli("data", "info", str(FIXTURE)).out
    assert "\n  success  not recorded\n" in said  # there is no such column
    assert "\n  state    j0.pos, j1.pos, j2.pos, j3.pos, j4.pos, j5.pos\n" in said
    assert said.count("\n  text ") == 2
    rows, wide = 6, 60
    arrays = {"observations": np.zeros((rows, wide)), "actions": np.zeros((rows, 2))}
    np.savez(tmp_path / "play.npz", terminals=np.arange(rows) == rows - 1, **arrays)
    done = cli("data", "convert", "play.npz", "play")
    assert done.status == 0, done.err
    said = cli("data", "info", "play").out
    assert "\n  success  0 of 1 episodes (not told by play.npz)\n" in said
    assert "\n  control  absolute, joint (not told by play.npz)\n" in said
    assert "... (60 in all)\n" in said
    assert max(map(len, said.splitlines())) <= 80
    assert "  text" not in said


def test_recorded_data_keep_what_they_were_recorded_in(cli, mistake, tmp_path: Path, monkeypatch) -> None:
    controller = {"type": "OSC_POSE", "control_delta": True}
    kwargs = {"control_freq": 20, "robots": ["Panda"], "controller_configs": controller}
    env_args = {"env_name": "Lift", "env_version": "1.4.1", "type": 1, "env_kwargs": kwargs}
    with h5py.File(tmp_path / "lift.hdf5", "w") as file:
        for demo in ("demo_0", "demo_1"):
            file[f"data/{demo}/obs/robot0_eef_pos"] = np.zeros((4, 3))
            file[f"data/{demo}/actions"] = np.zeros((4, 7))
        file["data"].attrs["env_args"] = json.dumps(env_args)
    (tmp_path / "robosuite-1.5.1.dist-info").mkdir()
    (tmp_path / "robosuite-1.5.1.dist-info" / "METADATA").write_text("Name: robosuite\nVersion: 1.5.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    said = "recorded on robosuite 1.4.1, 1.5.1 is installed"
    assert said in mistake("data", "convert", "lift.hdf5", "lift", "task=robosuite/lift")
    for root in ("lift", "more"):
        converted = cli("data", "convert", "lift.hdf5", root, "state=[robot0_eef_pos]")
        assert converted.status == 0, converted.err
    merged = cli("data", "merge", "lift", "more", "both")
    for shown in (converted, merged, cli("data", "info", "both")):
        assert "\n  origin   Lift, robosuite 1.4.1 (1.5.1 does not play it back), lift.hdf5\n" in shown.out
    assert cli("data", "check", "both").status == 0
    (kept,) = json.loads(Path("both/meta/origin.json").read_text())["origins"]
    assert kept["env_args"] == env_args
    assert said in mistake("train", "data=both", "task=robosuite/lift", "steps=1", "output=run")
    assert not Path("run").exists()
