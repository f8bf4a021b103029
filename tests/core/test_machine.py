"""A folder belongs to one process; workers are counted, a device must be there."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from robopolicy.core.errors import ConfigError, UserError
from robopolicy.core.machine import KINDS, LOCK, Lock, check_device, num_workers
from robopolicy.core.threads import usable_cores


def test_a_folder_is_free_again_when_its_holder_is_done_or_killed(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    hold = (
        "import sys, time; from robopolicy.core.machine import Lock; "
        "lock = Lock(sys.argv[1], doing='training'); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold, str(folder)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(UserError, match=f"process {holder.pid} is training in {folder}; wait"):
            Lock(folder, doing="evaluating")
        holder.kill()
    with Lock(folder, doing="evaluating"), pytest.raises(UserError, match="is evaluating"):
        Lock(folder, doing="training")
    assert not (folder / LOCK).exists()
    Lock(folder, doing="training").release()


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path: Path) -> None:
    Lock(tmp_path / "new" / "run", doing="training").release()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "own").mkdir()
    Lock(tmp_path / "own", doing="training").release()
    with Lock(tmp_path / "own" / "run", doing="training"):
        (tmp_path / "own" / "run" / "log").touch()
    assert (tmp_path / "own" / "run" / "log").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        Lock(tmp_path / "file" / "run", doing="training")


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_holds_one_kind_of_thing(tmp_path: Path, kind: str) -> None:
    for other, marks in KINDS.items():
        for mark in marks:
            (tmp_path / mark.replace("/", "-") / mark).mkdir(parents=True)
            holder = tmp_path / mark.replace("/", "-")
            if kind == other:
                Lock(holder, doing="working", kind=kind).release()
                continue
            with pytest.raises(
                UserError, match=f"{holder} cannot take the {kind}: it holds the {other} that"
            ):
                Lock(holder, doing="working", kind=kind)


def test_a_folder_on_a_full_disk_is_refused_and_left_as_it_was(tmp_path: Path, monkeypatch) -> None:
    def write(handle: int, text: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(UserError, match="No space left"):
        Lock(tmp_path / "new", doing="training")
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())
    Lock(tmp_path / "new", doing="training").release()


def test_a_folder_that_cannot_be_made_or_reached_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="/proc/nothere/run cannot be written"):
        Lock("/proc/nothere/run", doing="training")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    me = os.geteuid()
    try:
        if me == 0:
            os.seteuid(65534)  # root may enter any folder
        with pytest.raises(UserError, match=r"cannot be written \(Permission denied"):
            Lock(closed / "run", doing="training")
    finally:
        os.seteuid(me)
    assert closed.exists()


def test_null_workers_are_one_per_core_and_none_at_all_are_refused() -> None:
    assert num_workers(None) == usable_cores()
    assert num_workers(3) == 3
    for wrong in (0, -1, "many"):
        with pytest.raises(ConfigError, match=f"workers is {wrong!r}"):
            num_workers(wrong)  # type: ignore[arg-type]


def test_a_device_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_device("cpu")
    with pytest.raises(ConfigError, match="'cuda:1', but torch sees no GPU"):
        check_device("cuda:1")
    with pytest.raises(ConfigError, match="'xpu'; cpu or cuda"):
        check_device("xpu")
