"""Work in several processes, with results in the order of the work.

The calling process works too, so that the others' start (they are spawned, and import torch) costs least.
Each builds what it needs once, and then does one item after another. A worker ends as soon as its parent is
gone; a parent that stops early takes its workers with it. Callers in a script need the usual `if __name__ ==
"__main__":` guard.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from robopolicy.core.errors import ConfigError, UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerError(RuntimeError):
    """Something failed within a worker; the message holds its traceback."""


class WorkerKilledError(UserError):
    """A worker was ended from outside, most often for want of memory."""


def run_in_order(
    make: Callable[[], AbstractContextManager[Callable[[Item], Result]]],
    items: Sequence[Item],
    *,
    workers: int,
) -> Generator[Result]:
    """Results of the work on each item, in the order of `items`; closing the generator ends the workers.

    Args:
        make: entered once in each process, gives the function that does the work; picklable, and so are items
            and results.
        items: the work.
        workers: processes, this one among them.

    Raises:
        UserError: as raised by the work; what came before it in `items` is delivered first.
        WorkerKilledError: a signal ended another process.
        WorkerError: for every other failure in another process.
    """
    if workers < 1:
        raise ConfigError(f"workers is {workers}; it must be at least 1")
    if not items:
        return
    context = multiprocessing.get_context("spawn")
    pool: dict[Connection, BaseProcess] = {}
    try:
        for index in range(1, min(workers, len(items))):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(make, theirs), name=f"worker-{index}", daemon=True)
            process.start()
            theirs.close()
            pool[ours] = process
        with make() as work:
            yield from _distribute(pool, items, work) if pool else map(work, items)
    finally:
        for connection, process in pool.items():
            connection.close()
            process.terminate()
        for process in pool.values():
            process.join()


def _distribute(
    pool: dict[Connection, BaseProcess], items: Sequence[Any], work: Callable[[Any], Any]
) -> Iterator[Any]:
    lead = 8 * (len(pool) + 1)  # results that wait for an earlier one are held in memory: not too many
    given: dict[Connection, deque[int]] = {connection: deque() for connection in pool}
    finished, failed = {}, {}
    next_item = taken = 0

    def more() -> bool:
        return not failed and next_item < min(len(items), taken + lead)

    while taken < len(items):
        # One item in hand and one in reserve, so that nobody waits while this process is at work.
        for connection in sorted((c for c in pool if len(given[c]) < 2), key=lambda c: len(given[c])):
            if more():
                given[connection].append(next_item)
                next_item += 1
                with suppress(OSError):  # found dead; what it has to say is read below
                    connection.send(items[given[connection][-1]])
        own = more()
        if own:
            at, next_item = next_item, next_item + 1
            try:
                finished[at] = work(items[at])
            except UserError as error:
                failed[at] = error
        busy = [connection for connection, waiting in given.items() if waiting]
        for connection in wait(busy, timeout=0 if own else None):
            assert isinstance(connection, Connection)
            at = given[connection].popleft()
            try:
                finished[at] = receive(pool[connection], connection)
            except (UserError, WorkerError) as error:
                failed[at] = error
                given[connection].clear()  # it has ended
        while taken in finished:
            yield finished.pop(taken)
            taken += 1
        if taken in failed:  # what came before a failure is delivered first
            raise failed[taken]


def receive(process: BaseProcess, connection: Connection) -> Any:
    """What a worker answers: `(kind, value)`, of which a `mistake` and a `failure` are raised here.

    Raises:
        UserError: the worker's mistake.
        WorkerKilledError: a signal ended it.
        WorkerError: for every other failure.
    """
    try:
        kind, value = connection.recv()
    except (EOFError, OSError) as error:
        raise _obituary(process) from error
    if kind == "mistake":
        raise UserError(value)
    if kind == "failure":
        raise WorkerError(f"{process.name} failed:\n{value}")
    return value


def _obituary(process: BaseProcess) -> Exception:
    process.join(timeout=5)
    code = process.exitcode
    if code is None or code >= 0:
        return WorkerError(f"{process.name} died with exit code {code}")
    name = next((s.name for s in signal.Signals if s == -code), f"signal {-code}")
    return WorkerKilledError(f"{process.name} was killed by {name}; if memory ran out, use fewer workers")


def end_with_parent() -> None:
    """From now on this process, which another one started, ends as soon as that one is gone, whatever it is
    doing: a parent that is killed cannot say so.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _serve(make: Callable[[], AbstractContextManager[Callable[[Any], Any]]], connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair, which then ends its workers
    end_with_parent()
    try:
        with make() as work:
            while True:
                connection.send(("result", work(connection.recv())))
    except (EOFError, BrokenPipeError):
        return  # the parent is gone
    except UserError as error:
        connection.send(("mistake", str(error)))
    except Exception:
        connection.send(("failure", traceback.format_exc()))
