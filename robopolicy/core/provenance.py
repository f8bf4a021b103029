"""Where a result comes from: versions, commit, code, command and time."""

from __future__ import annotations

import hashlib
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from robopolicy.core import build, suites
from robopolicy.core.share import checkout, share

SIMULATORS = ("mujoco", "gymnasium", "dm-control", "metaworld", "ogbench", "robosuite")
PACKAGES = ("robopolicy", "torch", "numpy", "safetensors", *SIMULATORS)


def provenance() -> dict[str, Any]:
    """Plain values that let somebody else repeat what this process is doing."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "commit": commit(),
        "code": code(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions(),
    }


def versions() -> dict[str, str | None]:
    """The versions of what results depend on, plug-ins included; None where a package is not installed."""
    plugged = [entry.dist.name for entry in _plugins() if entry.dist is not None]
    return {name: _version(name) for name in dict.fromkeys((*PACKAGES, *plugged))}


@cache
def code() -> str:
    """Hash of the source files and models of this project and of the packages that plug in.

    Other than the commit it follows every edit, committed or not, also where there is no git.
    """
    packages = ["robopolicy", *sorted({entry.module.partition(".")[0] for entry in _plugins()})]
    roots = [share("assets")]
    for spec in map(find_spec, dict.fromkeys(packages)):
        if spec is not None:  # a plug-in whose package is gone runs no code
            roots += [Path(place) for place in spec.submodule_search_locations or [spec.origin] if place]
    digest = hashlib.sha256()
    for root in roots:
        for path in sorted([root] if root.is_file() else root.rglob("*")):
            if path.suffix in (".py", ".xml"):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{path.relative_to(root.parent)} {content}\n".encode())
    return digest.hexdigest()


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


@cache
def _plugins() -> tuple[EntryPoint, ...]:
    return (*entry_points(group=suites.GROUP), *entry_points(group=build.GROUP))


def _git(root: str, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", root, *arguments], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
