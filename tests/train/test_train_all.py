"""Processes that train beside each other, and a parent that cannot tell them to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from robopolicy.data.writer import DatasetWriter
from robopolicy.testing import tiny_spec, tiny_store

SCRIPT = """
from pathlib import Path
from robopolicy.train.parallel import train_all
policy = {"_target_": "robopolicy.policies.gaussian.GaussianPolicy", "horizon": 4, "hidden": [4]}
config = {"policy": policy, "data": "data", "steps": 10**9, "batch_size": 4, "log_every": 1}
train_all({Path("one"): config, Path("two"): config}, workers=2)
"""


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def pid_of(lock: Path) -> int:
    """Of the process that holds a run's folder."""
    return int(lock.read_text().split()[1])


def test_runs_do_not_outlive_a_parent_that_was_killed(tmp_path) -> None:
    store = tiny_store(tiny_spec())
    with DatasetWriter(tmp_path / "data", spec=store.spec) as writer:
        for index in range(2):
            writer.append(store.episode(index))
    logs = [tmp_path / name / "log.jsonl" for name in ("one", "two")]
    holders = [log.with_name(".lock") for log in logs]
    with subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=tmp_path, stderr=subprocess.DEVNULL) as parent:
        try:
            wait_for(lambda: parent.poll() is not None or all(log.exists() for log in logs))
            runs = [pid_of(lock) for lock in holders]
        finally:
            parent.kill()
    try:
        wait_for(lambda: all(map(gone, runs)), seconds=30)
    finally:
        for run in runs:
            if not gone(run):
                os.kill(run, signal.SIGKILL)
