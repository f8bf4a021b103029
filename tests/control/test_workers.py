import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from robopolicy.control.workers import WorkerError, run_in_order
from robopolicy.core.errors import UnknownNameError, UserError
from robopolicy.core.machine import is_alive

PARENT = os.getpid()  # in a worker, which imports this file again, another number


@contextmanager
def make_square(trap: int = -1, kind: str = "", parent: int = 0):
    def square(item: int) -> tuple[int, int]:
        if item == trap or (kind in ("die", "killed") and os.getpid() != parent):
            if kind == "die":
                os._exit(9)
            if kind == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if kind == "mistake":
                raise UnknownNameError("task", "reech", ["reach"])
            raise RuntimeError(f"cannot do {item}")
        time.sleep(0.02 * (item % 3 == 0))  # so that later items overtake earlier ones
        return item * item, os.getpid()

    yield square


def test_results_keep_the_order_and_come_from_all_processes():
    items = list(range(400))
    results = list(run_in_order(make_square, items, workers=3))
    assert [value for value, _ in results] == [item * item for item in items]
    pids = {pid for _, pid in results}
    assert PARENT in pids
    assert len(pids) == 3


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [("mistake", UserError, "did you mean 'reach'"), ("error", RuntimeError, "cannot do 60")],
)
def test_a_failure_comes_after_what_preceded_it_and_leaves_no_process_behind(kind, error, message):
    results = run_in_order(partial(make_square, 60, kind), range(80), workers=2)
    seen = [next(results) for _ in range(40)]
    with pytest.raises(error, match=message):
        seen.extend(results)
    if kind == "mistake":
        assert [value for value, _ in seen] == [item * item for item in range(60)]
    assert not any(is_alive(pid) for _, pid in seen if pid != PARENT)


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [("die", WorkerError, "exit code 9"), ("killed", UserError, "killed by SIGKILL; .* fewer workers")],
)
def test_a_worker_that_dies_says_how(kind, error, message):
    results = run_in_order(partial(make_square, -1, kind, PARENT), range(400), workers=2)
    with pytest.raises(error, match=message):
        list(results)


def test_an_early_stop_ends_the_workers():
    results = run_in_order(make_square, range(10**6), workers=2)
    worker = next(pid for _, pid in results if pid != PARENT)
    results.close()
    assert not is_alive(worker)


def test_workers_do_not_outlive_a_parent_that_was_killed():
    script = (
        "import os\nfrom robopolicy.control.workers import run_in_order\n"
        "from test_workers import make_square\n"
        "[print(pid, flush=True) for _, pid in run_in_order(make_square, range(10**6), workers=2)"
        " if pid != os.getpid()]"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    for _ in range(200):
        if not is_alive(worker):
            return
        time.sleep(0.05)
    pytest.fail(f"worker {worker} lives on")


def test_no_work_and_no_workers():
    assert list(run_in_order(make_square, [], workers=2)) == []
    with pytest.raises(ValueError, match="workers"):
        next(run_in_order(make_square, [1], workers=0))
