"""One thread per process, the project's default on a CPU.

Parallel work is processes here (workers that collect, learners that train, blocks of episodes), and each is
fastest alone on its core. Two OpenMP threads that share a core with anything else spin at every barrier: a
training step of 46 ms was measured at 600 to 1300 ms so (two critics of 4 x 512, batch 256, two cores, one of
them busy), while one thread stayed near 40 ms. `OMP_WAIT_POLICY=PASSIVE` makes those who still
choose more threads sleep at barriers instead.

Call `use_threads` at an entry point, before numpy or torch is imported where that can be arranged: the
libraries read their variables once. A variable that the user has set is left as it is.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h


def use_threads(count: int | None = None) -> int:
    """Give this process, and the processes it starts, `count` threads for arithmetic.

    Args:
        count: None means `OMP_NUM_THREADS` where the user has set it, otherwise 1.

    Returns:
        The number of threads in use.
    """
    if count is None:
        given = os.environ.get("OMP_NUM_THREADS", "")
        count = int(given) if given.isdigit() and int(given) > 0 else 1
    for name in VARIABLES:
        os.environ.setdefault(name, str(count))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "torch" in sys.modules:  # imported already: it has read its variables, so it must be told
        import torch

        torch.set_num_threads(count)
    return count


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next step, where it is glibc.

    By default it gives large arrays back to the system and asks for the same pages, to be zeroed, a moment
    later: a U-Net's training step took 4,800 page faults for that.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def usable_cores() -> int:
    """How many processes can work at once: what the scheduler and a container's quota leave of the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup, or no quota in it ("max")
        return cores
