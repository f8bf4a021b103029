"""One thread by default, and the user's word above it."""

from __future__ import annotations

import os

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
