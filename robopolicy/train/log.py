"""What a run tells: `log.jsonl` always, TensorBoard beside it, and a progress bar with the time left.

Metrics arrive as tensors on the learner's device and are summed there; they are read once per logged
interval, in one transfer.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import scalar

from robopolicy.core.files import write_text, writing

LINE_EVERY_S = 30.0  # between plain lines, where there is no terminal to draw a bar on
SHOW_EVERY_S = 0.2  # between two moves of the bar

Report = Callable[[int, int], object]  # steps made, steps in all


class Means:
    """Running means of metrics, kept on their device."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, torch.Tensor]) -> None:
        """Take in one step's metrics; a name may be missing from some steps."""
        for name, value in metrics.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """The means since the last call; waits for the device once."""
        if not self._sums:
            return {}
        sums = torch.stack([value.float() for value in self._sums.values()]).tolist()
        means = {name: total / self._counts[name] for name, total in zip(self._sums, sums, strict=True)}
        self._sums, self._counts = {}, {}
        return means


class _Board:
    """The file that TensorBoard reads; what an earlier attempt logged beyond `step` is hidden there.

    torch's own writer has a thread, which shows a traceback where the disk is full; this one raises OSError.
    """

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = open(folder / f"events.out.tfevents.{time.time():.6f}.{os.getpid()}", "xb")  # noqa: SIM115
        self._records = RecordWriter(self._file)
        start = SessionLog(status=SessionLog.START)
        self._write(Event(step=step + 1, file_version="brain.Event:2"))
        self._write(Event(step=step + 1, session_log=start))

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """One point on each curve."""
        for name, value in metrics.items():
            self._write(Event(step=step, summary=scalar(name, value)))
        self._file.flush()

    def close(self) -> None:
        """Write what is waiting."""
        self._file.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())


class RunLog:
    """Writes a run's curves; a context manager.

    Args:
        out: the run's folder.
        step: of the checkpoint the run goes on from; what an earlier attempt logged beyond it is dropped.
        total: steps of the whole run.
        report: told how far the run is; None draws a bar or, without a terminal, prints a line now and then.

    Raises:
        UserError: the disk refused.
    """

    def __init__(self, *, out: Path, step: int, total: int, report: Report | None) -> None:
        self._path, self._total, self._report, self._first = out / "log.jsonl", total, report, step
        self._started = self._line_at = self._shown_at = time.monotonic()
        console = Console(stderr=True)
        self._lines = report is None and not console.is_terminal
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=console,
            disable=report is not None or not console.is_terminal,
            speed_estimate_period=60,
        )
        self._task = self._bar.add_task("", total=total, completed=step)
        with writing(out):
            _drop_after(self._path, step)
            self._board = _Board(out / "tensorboard", step)

    def __enter__(self) -> RunLog:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        with suppress(OSError) if error is not None else writing(self._path.parent):
            self._board.close()

    def advance(self, step: int) -> None:
        """Show how far the run is, at most a few times a second."""
        now = time.monotonic()
        if now - self._shown_at < SHOW_EVERY_S and step < self._total:
            return
        self._shown_at = now
        if self._report is not None:
            self._report(step, self._total)
        else:
            self._bar.update(self._task, completed=step)

    def write(self, step: int, metrics: Mapping[str, float], **more: Any) -> None:
        """One line of JSON and one point on each curve; a number that is not finite is written as null."""
        numbers = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        with writing(self._path.parent):
            with open(self._path, "a") as file:
                file.write(json.dumps({"step": step, "time": time.time(), **more, **numbers}) + "\n")
            self._board.add(step, metrics)
        losses = [f"{name[5:]} {value:.4g}" for name, value in metrics.items() if name.startswith("loss/")]
        if losses:
            self._say(step, f"loss {', '.join(losses)}")

    def _say(self, step: int, losses: str) -> None:
        self._bar.update(self._task, description=losses)
        now = time.monotonic()
        if self._lines and now - self._line_at >= LINE_EVERY_S:
            self._line_at = now
            left = (now - self._started) / (step - self._first) * (self._total - step)
            print(f"step {step}/{self._total}  {losses}  {left / 60:.1f} min left", file=sys.stderr)


def read_log(out: Path) -> list[dict[str, Any]]:
    """The lines of a run's `log.jsonl`, oldest first; one that was cut short or damaged is left out."""
    lines = []
    path = out / "log.jsonl"
    for raw in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines


def _drop_after(path: Path, step: int) -> None:
    lines = [line for line in read_log(path.parent) if line["step"] <= step]
    if path.exists():
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
