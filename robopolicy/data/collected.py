"""What a dataset was collected from: `meta/collect.json`, which `train.collect` keeps and a merge carries on.

A collection keeps there what was asked for and how far it is; a merge what was asked of all its parts, and
their `tasks`. The format has no place for it, and other readers ignore it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robopolicy.data import format as fmt
from robopolicy.data.damage import DamagedFileError

COLLECTED = "meta/collect.json"


def tasks(root: Path) -> tuple[str, ...]:
    """The tasks of a dataset as `suite/task`; none where not all of it was collected here."""
    return _tasks(_read(root))


def is_merged(root: Path) -> bool:
    """Whether a dataset was merged of collections: none of them goes on in it."""
    return "tasks" in _read(root)


def write_merged(out: Path, roots: Sequence[Path]) -> None:
    """Keep in `out` what was asked of all of `roots`; nothing where one of them does not tell its tasks."""
    parts = [_read(root) for root in roots]
    if all(map(_tasks, parts)):
        agreed = {key: _agreed([part.get(key) for part in parts]) for key in ("request", "versions")}
        found = sorted({task for part in parts for task in _tasks(part)})
        fmt.write_json(out / COLLECTED, {**agreed, "tasks": found})


def _read(root: Path) -> Mapping[str, Any]:
    try:
        return fmt.read_json(root / COLLECTED)
    except DamagedFileError:
        return {}


def _tasks(told: Mapping[str, Any]) -> tuple[str, ...]:
    request = told.get("request")
    found = told.get("tasks", [request.get("task")] if isinstance(request, Mapping) else [])
    return tuple(found) if isinstance(found, list) and all(isinstance(task, str) for task in found) else ()


def _agreed(parts: Sequence[object]) -> dict[str, Any]:
    """The items that all of these have."""
    first, *others = [part if isinstance(part, Mapping) else {} for part in parts]
    return {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in others)
    }
