"""Independent learners, trained in parallel processes of one thread each.

A critic and a policy that learn from the same data, or several seeds of one recipe, need nothing from each
other. Each run is `train.run.train` in a spawned process; a signal to this process reaches every run, which
then writes its checkpoint. Where this process is killed, they end at once, and go on from their last one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

from robopolicy.control.workers import end_with_parent
from robopolicy.core.errors import UserError
from robopolicy.core.machine import num_workers
from robopolicy.core.threads import use_threads


def train_all(runs: Mapping[Path, Mapping[str, Any]], *, workers: int | None = None) -> list[Path]:
    """Train every run; each goes on where it stopped, as `train` does.

    Args:
        runs: folder of the run to its config.
        workers: processes at a time; None means one per core.

    Returns:
        The last checkpoints, in the order of `runs`.

    Raises:
        UserError: names the runs that failed; the others were trained to their end.
        SystemExit: 128 + the signal's number, when every run has written its checkpoint.
    """
    most = num_workers(workers)
    use_threads()  # inherited by the processes, and read by their libraries as they load
    context = multiprocessing.get_context("spawn")
    waiting = list(runs.items())
    running: dict[int, tuple[Path, BaseProcess]] = {}
    failed: list[Path] = []
    stop: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        stop.append(number)
        for _, process in running.values():
            process.terminate()

    listening = threading.current_thread() is threading.main_thread()
    kept = {n: signal.signal(n, pass_on) for n in (signal.SIGTERM, signal.SIGINT) if listening}
    try:
        while running or (waiting and not stop):
            while waiting and not stop and len(running) < most:
                out, config = waiting.pop(0)
                process = context.Process(target=_train, args=(dict(config), out))
                process.start()
                running[process.sentinel] = (out, process)
                if stop:  # the signal came while it was being started
                    process.terminate()
            for sentinel in wait(list(running)):
                ended, process = running.pop(sentinel)  # pyright: ignore[reportArgumentType]
                process.join()
                if process.exitcode:
                    failed.append(ended)
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    if stop:
        raise SystemExit(128 + stop[0])
    if failed:
        raise UserError(f"these runs failed, for the reasons printed above: {[str(out) for out in failed]}")
    return [Path(out) / "checkpoints" / "last" for out in runs]


def _train(config: Mapping[str, Any], out: Path) -> None:
    os.setsid()  # Ctrl-C reaches the parent alone, which passes it on once: a second signal means at once
    end_with_parent()
    from robopolicy.train.run import train

    try:
        train(config, out, report=lambda done, of: None)
    except UserError as mistake:
        print(f"{out}: {mistake}", file=sys.stderr)
        raise SystemExit(2) from mistake
