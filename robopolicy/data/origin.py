"""Where imported episodes come from: `meta/origin.json`, which this project's commands carry on.

The format has no place for it, and other readers ignore it. Each origin names the file and its layout; where
the file says so also the simulator, its version, the task, and all that builds the environment again; and as
`unknown` the facts of which neither the file nor the user told (`control`: what the actions mean, `success`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from robopolicy.core.errors import DatasetError
from robopolicy.data import format as fmt
from robopolicy.data.damage import parsing

ORIGIN = "meta/origin.json"
_TEXTS = ("file", "layout", "simulator", "version", "task")


def read(root: Path) -> tuple[dict[str, Any], ...]:
    """The origins of a dataset; none where it was recorded here.

    Raises:
        DamagedFileError: the file cannot be read.
    """
    path = root / ORIGIN
    if not path.exists():
        return ()
    with parsing(path):
        origins = fmt.read_json(path)["origins"]
        if not isinstance(origins, list) or not all(isinstance(origin, dict) for origin in origins):
            raise ValueError("origins is no list of objects")
        for origin in origins:
            if strange := {name: origin.get(name) for name in _TEXTS if not _is_text(origin.get(name))}:
                raise ValueError(f"{strange} is no text")
            facts = origin.get("unknown", [])
            if not isinstance(facts, list) or not all(isinstance(fact, str) for fact in facts):
                raise ValueError(f"unknown is {str(facts)[:60]}, a list of facts is meant")
        return tuple(origins)


def write(root: Path, origins: Iterable[Mapping[str, Any]]) -> None:
    """Keep each different origin once; nothing is written where there is none."""
    different: list[Mapping[str, Any]] = []
    for origin in origins:
        if origin not in different:
            different.append(origin)
    if different:
        fmt.write_json(root / ORIGIN, {"origins": different})


def describe(origin: Mapping[str, Any]) -> str:
    """An origin in a few words, and whether its actions play back on what is installed."""
    file = str(origin.get("file"))
    if not (simulator := origin.get("simulator")):
        return file
    installed = _other_version(origin)
    but = f" ({installed} does not play it back)" if installed else ""
    return f"{origin.get('task')}, {simulator} {origin.get('version') or 'of unknown version'}{but}, {file}"


def unknown(origins: Sequence[Mapping[str, Any]], fact: str) -> str:
    """Which files did not tell a fact, in brackets; nothing where all did."""
    silent = dict.fromkeys(str(origin.get("file")) for origin in origins if fact in origin.get("unknown", ()))
    return f" (not told by {', '.join(silent)})" if silent else ""


def require_task(origins: Sequence[Mapping[str, Any]], task: str, *, name: str | Path) -> None:
    """Refuse to use episodes for a task `suite/task` that is not the one, or on which they do not play back.

    Nothing is said of what the file does not tell. Of `cube-single` are all tasks whose names begin so.

    Raises:
        DatasetError: names both versions or both tasks, and what to do.
    """
    suite, _, wanted = task.partition("/")
    for origin in origins:
        simulator, recorded = origin.get("simulator"), origin.get("task")
        if simulator != suite:
            continue
        if installed := _other_version(origin):
            raise DatasetError(
                f"{name} was recorded on {simulator} {origin['version']}, {installed} is installed, whose "
                "controllers do other things with the same actions: take the file that was made for "
                f"{simulator} {installed}, or leave out task={task}"
            )
        if recorded and not _plain(wanted).startswith(_plain(recorded)):
            raise DatasetError(f"{name} holds {recorded}, task={task} was asked for; name the task it holds")


def _other_version(origin: Mapping[str, Any]) -> str | None:
    """The installed version of the origin's simulator, where its first two numbers are others."""
    try:
        installed = metadata.version(origin["simulator"])
    except (KeyError, metadata.PackageNotFoundError):
        return None
    have, recorded = (re.match(r"(\d+)\.(\d+)", v or "") for v in (installed, origin.get("version")))
    return installed if have and recorded and have.groups() != recorded.groups() else None


def _plain(task: str) -> str:
    return re.sub(r"[^a-z0-9]", "", task.lower())


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)
