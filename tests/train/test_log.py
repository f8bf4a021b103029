"""The lines of a run's log, and what became of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from points import quiet
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

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


def test_tensorboard_shows_what_the_run_that_went_on_logged(tmp_path: Path) -> None:
    for begun, losses in ((0, {1: 4.0, 2: 3.0, 3: 2.0}), (1, {2: 8.0})):
        with RunLog(out=tmp_path, step=begun, total=3, report=quiet) as log:
            for step, loss in losses.items():
                log.write(step, {"loss/actor": loss})
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(point.step, point.value) for point in curves.Scalars("loss/actor")] == [(1, 4.0), (2, 8.0)]
