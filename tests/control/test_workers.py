import os
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from robopolicy.control.workers import WorkerError, run_in_order
from robopolicy.core.errors import UnknownNameError, UserError


@contextmanager
def make_square(trap: int = -1, kind: str = ""):
    def square(item: int) -> tuple[int, int]:
        if item == trap:
            if kind == "die":
                os._exit(9)
            if kind == "mistake":
                raise UnknownNameError("task", "reech", ["reach"])
            raise RuntimeError(f"cannot do {item}")
        time.sleep(0.02 * (item % 3 == 0))  # so that later items overtake earlier ones
        return item * item, os.getpid()

    yield square


def test_results_keep_the_order_and_come_from_several_processes():
    items = list(range(30))
    results = list(run_in_order(make_square, items, workers=2))
    assert [value for value, _ in results] == [item * item for item in items]
    assert len({pid for _, pid in results} - {os.getpid()}) == 2


def test_failures_say_what_failed_and_leave_no_process_behind():
    expected = {
        "die": (WorkerError, "exit code 9"),
        "mistake": (UserError, "did you mean 'reach'"),
        "error": (WorkerError, "cannot do 3"),
    }
    for kind, (error, message) in expected.items():
        results = run_in_order(partial(make_square, 3, kind), range(8), workers=2)
        seen = [next(results) for _ in range(3)]  # what came before the failure is not lost
        with pytest.raises(error, match=message):
            next(results)
        for _, pid in seen:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


def test_an_early_stop_ends_the_workers():
    results = run_in_order(make_square, range(100), workers=2)
    _, pid = next(results)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_workers_do_not_outlive_a_parent_that_was_killed():
    script = (
        "from test_workers import make_square; from robopolicy.control.workers import run_in_order; "
        "[print(pid, flush=True) for _, pid in run_in_order(make_square, range(10**6), workers=2)]"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    for _ in range(200):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail(f"worker {worker} lives on")


def test_no_work_and_no_workers():
    assert list(run_in_order(make_square, [], workers=2)) == []
    with pytest.raises(ValueError, match="workers"):
        next(run_in_order(make_square, [1], workers=0))
