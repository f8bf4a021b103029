from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from robopolicy.core.files import point, replacing, write_text


def test_a_block_that_fails_leaves_what_was_there_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_text(path, "old")

    def spoilt() -> None:
        with replacing(path) as aside:
            aside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spoilt()
    assert path.read_text() == "old"
    point(path.with_name("link"), "file")
    point(path.with_name("link"), "elsewhere")
    assert path.with_name("link").readlink() == Path("elsewhere")
    assert sorted(item.name for item in path.parent.iterdir()) == ["file", "link"]


def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    dead, living = tmp_path / f".file.tmp-{gone.pid}", tmp_path / ".file.tmp-1"
    never = tmp_path / f".file.tmp-{10**30}"  # no process has such a number
    other = tmp_path / f".other.tmp-{gone.pid}"
    dead.mkdir()
    for left in (dead / "half", living, other, never):
        left.write_text("half")
    write_text(tmp_path / "file", "new")
    assert not dead.exists()
    assert not never.exists()
    assert living.exists()
    assert other.exists()
