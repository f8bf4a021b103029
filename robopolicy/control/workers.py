"""Work in several processes, with results in the order of the work.

Each worker is spawned, builds what it needs once, and then answers one item after another. A worker whose
parent is gone stops by itself; a parent that stops early takes its workers with it. Callers in a script need
the usual `if __name__ == "__main__":` guard.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from robopolicy.core.errors import ConfigError, UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerError(RuntimeError):
    """Something failed within a worker; the message holds its traceback."""


def run_in_order(
    make: Callable[[], AbstractContextManager[Callable[[Item], Result]]],
    items: Sequence[Item],
    *,
    workers: int,
) -> Generator[Result]:
    """Results of the work on each item, in the order of `items`; closing the generator ends the workers.

    Args:
        make: entered once in each worker, gives the function that does the work; picklable, and so are items
            and results.
        items: the work.
        workers: processes; with one, the work is done in this process.

    Raises:
        UserError: as raised by the work; what came before it in `items` is delivered first.
        WorkerError: for every other failure in another process, its death included.
    """
    if workers < 1:
        raise ConfigError(f"workers is {workers}; it must be at least 1")
    workers = min(workers, len(items))
    if workers <= 1:
        if items:
            with make() as work:
                yield from map(work, items)
        return
    context = multiprocessing.get_context("spawn")
    pool: dict[Connection, BaseProcess] = {}
    try:
        for index in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(make, theirs), name=f"worker-{index}", daemon=True)
            process.start()
            theirs.close()
            pool[ours] = process
        yield from _distribute(pool, items)
    finally:
        for connection, process in pool.items():
            connection.close()
            process.terminate()
        for process in pool.values():
            process.join()


def _distribute(pool: dict[Connection, BaseProcess], items: Sequence[Any]) -> Iterator[Any]:
    lead = 4 * len(pool)  # results that wait for an earlier one are held in memory: not too many of them
    idle, running, finished, failed = list(pool), {}, {}, {}
    given = taken = 0
    while taken < len(items):
        while idle and not failed and given < min(len(items), taken + lead):
            connection = idle.pop(0)
            running[connection] = given
            given += 1
            try:
                connection.send(items[running[connection]])
            except OSError:  # found dead; what it has to say is read below
                continue
        for connection in wait(list(running)):
            assert isinstance(connection, Connection)
            at = running.pop(connection)
            try:
                finished[at] = _receive(pool, connection)
                idle.append(connection)
            except (UserError, WorkerError) as error:
                failed[at] = error
        while taken in finished:
            yield finished.pop(taken)
            taken += 1
        if taken in failed:  # what came before a failure is delivered first
            raise failed[taken]


def _receive(pool: dict[Connection, BaseProcess], connection: Connection) -> Any:
    try:
        kind, value = connection.recv()
    except (EOFError, OSError) as error:
        raise WorkerError(_obituary(pool[connection])) from error
    if kind == "mistake":
        raise UserError(value)
    if kind == "failure":
        raise WorkerError(f"{pool[connection].name} failed:\n{value}")
    return value


def _obituary(process: BaseProcess) -> str:
    process.join(timeout=5)
    return (
        f"{process.name} died with exit code {process.exitcode}; "
        "if it was killed for want of memory, use fewer workers"
    )


def _serve(make: Callable[[], AbstractContextManager[Callable[[Any], Any]]], connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair, which then ends its workers
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
