"""Damaged datasets at the command line: what is wrong in one message, and no traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

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
    assert "\n  success  0 of 1 episodes\n" in said
    assert "... (60 in all)\n" in said
    assert max(map(len, said.splitlines())) <= 80
    assert "  text" not in said
