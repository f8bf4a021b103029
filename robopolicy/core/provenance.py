"""Where a result comes from: versions, commit, command and time."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from robopolicy.core.share import checkout

PACKAGES = (
    *("robopolicy", "torch", "numpy", "safetensors"),
    *("mujoco", "gymnasium", "dm-control", "metaworld", "robosuite"),
)


def provenance() -> dict[str, Any]:
    """Plain values that let somebody else repeat what this process is doing."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "commit": commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions(),
    }


def versions() -> dict[str, str | None]:
    """The versions of what results depend on; None where a package is not installed."""
    return {name: _version(name) for name in PACKAGES}


@cache
def commit() -> str | None:
    """The checkout's commit, `+changes` where files differ from it; None in an installed wheel."""
    root = checkout()
    if root is None:
        return None
    try:
        head = _git(str(root), "rev-parse", "HEAD")
        return head + ("+changes" if _git(str(root), "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: str, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", root, *arguments], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
