"""One thread by default, and the user's word above it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from robopolicy.core.threads import VARIABLES, usable_cores, use_threads


@pytest.mark.parametrize(("given", "expected"), [(None, 1), ("2", 2), ("", 1), ("many", 1)])
def test_the_default_is_one_and_the_user_decides(
    given: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*VARIABLES, "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    before = torch.get_num_threads()
    try:
        assert use_threads() == expected
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
    assert os.environ["MKL_NUM_THREADS"] == str(expected)
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_some_core_is_usable() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def page_faults() -> int:
    """Of using and freeing 16 MB ten times, after the first."""
    torch.zeros(4 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.zeros(4 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is meant; run on Linux")
def test_freed_memory_is_used_again() -> None:
    script = (
        "from robopolicy.core.threads import keep_freed_memory\nfrom test_threads import page_faults\n"
        "before = page_faults(); keep_freed_memory(); print(before, page_faults())"
    )  # in a process of its own, since it cannot be undone
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parent, check=True, stdout=subprocess.PIPE
    )
    before, after = map(int, done.stdout.split())
    assert before > 2_000
    assert after < 500
