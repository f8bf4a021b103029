"""Processes that train beside each other, and a parent that cannot tell them to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from robopolicy.core.machine import is_alive
from robopolicy.data.writer import DatasetWriter
from robopolicy.testing import tiny_spec, tiny_store

SCRIPT = """
from pathlib import Path
from robopolicy.train.parallel import train_all
policy = {"_target_": "robopolicy.policies.gaussian.GaussianPolicy", "horizon": 4, "hidden": [4]}
config = {"policy": policy, "data": "data", "steps": 10**9, "batch_size": 4, "log_every": 1}
train_all({Path("one"): config, Path("two"): config}, workers=2)
"""


def comes(condition: Callable[[], object], seconds: float = 120) -> bool:
    """Whether it holds before the time is up."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


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
            assert comes(lambda: all(log.exists() for log in logs) or parent.poll() is not None)
            runs = [pid_of(lock) for lock in holders]
            assert all(map(is_alive, runs))
        finally:
            parent.kill()
    try:
        assert comes(lambda: not any(map(is_alive, runs)), seconds=30)
    finally:
        for run in filter(is_alive, runs):
            os.kill(run, signal.SIGKILL)
