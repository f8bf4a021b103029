"""Damaged datasets at the command line: what is wrong in one message, and no traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

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
