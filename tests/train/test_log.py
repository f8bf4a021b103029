"""The lines of a run's log, and what became of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from points import quiet

from robopolicy.train.log import RunLog, read_log


@pytest.mark.parametrize("damaged", [b"7", b"\xff", b"[]", b"{}", b'{"step": "2"}', b'{"step": 2, "lo', b"["])
def test_a_line_that_is_damaged_is_left_out(tmp_path: Path, damaged: bytes) -> None:
    lines = [json.dumps({"step": step}).encode() for step in (1, 2, 3)]
    (tmp_path / "log.jsonl").write_bytes(b"\n".join([*lines[:2], damaged, lines[2], damaged]))
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3]
    with RunLog(out=tmp_path, step=2, total=5, report=quiet) as log:
        log.write(5, {"loss/actor": float("nan")})
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 5]
    assert read_log(tmp_path)[-1]["loss/actor"] is None
