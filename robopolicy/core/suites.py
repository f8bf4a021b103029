"""How the library meets simulators: by entry point, never by import.

A suite is a plug-in under the entry-point group `robopolicy.suites`; its object is a `Suite`. Tasks are named
`suite/task`. A suite that fails to import is reported by name with its reason and skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from robopolicy.core.errors import ConfigError, UnknownNameError
from robopolicy.core.protocols import Agent, Env

GROUP = "robopolicy.suites"

# The seed of a reset fixes an episode's initial state. Those of collection and evaluation never meet.
COLLECTION = range(1_000_000)
SPLITS = {"dev": range(1_000_000, 2_000_000), "test": range(2_000_000, 3_000_000)}  # of evaluation


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A family of tasks.

    Args:
        name: the part before the slash.
        tasks: task name to one-line description.
        make_env: `(task, **options) -> Env`.
        make_expert: `(task, quality=..., rows=B, spec=..., **options) -> Agent` for B rows of environments of
            this spec, or None where no demonstrator exists. `quality` is the name of a preset (`expert`,
            `mixed`, `play` ...), whose details the options change.
        qualities: preset name to one-line description.
        env_options: preset name to options of the environment in which it is to be demonstrated, where the
            usual ones do not suit it (`play` does not end when a goal is met).
        relabel: `(task, state [L S], names [S]) -> (reward [L], success [L])`, the rewards a task would have
            given along recorded states, or None where they cannot be known from states.
    """

    name: str
    tasks: Mapping[str, str]
    make_env: Callable[..., Env]
    make_expert: Callable[..., Agent] | None = None
    qualities: Mapping[str, str] = field(default_factory=dict)
    env_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    relabel: Callable[[str, np.ndarray, tuple[str, ...]], tuple[np.ndarray, np.ndarray]] | None = None


@cache
def suites() -> tuple[dict[str, Suite], dict[str, str]]:
    """All suites by name, and the reason for each that could not be loaded."""
    found: dict[str, Suite] = {}
    failed: dict[str, str] = {}
    for entry in entry_points(group=GROUP):
        # A foreign plug-in may fail in any way; it must not take the others with it.
        try:
            found[entry.name] = entry.load()
        except Exception as error:
            failed[entry.name] = f"{type(error).__name__}: {error}"
    return found, failed


def find(task: str) -> tuple[Suite, str]:
    """The suite and the task's name within it, of `suite/task`.

    Raises:
        ConfigError: not a string.
        UnknownNameError: with the nearest names, and with the reason where the suite is known but failed to
            load.
    """
    if not isinstance(task, str):
        raise ConfigError(f"task is {task!r}; suite/task is meant, see `robopolicy list`")
    found, failed = suites()
    known = [f"{suite.name}/{name}" for suite in found.values() for name in suite.tasks]
    suite_name, _, name = task.partition("/")
    if suite_name in failed:
        raise UnknownNameError(
            "task", task, known, f" (suite '{suite_name}' did not load: {failed[suite_name]})"
        )
    if suite_name not in found or name not in found[suite_name].tasks:
        raise UnknownNameError("task", task, known)
    return found[suite_name], name


def make_env(task: str, /, **options: Any) -> Env:
    """The environment of `suite/task`; options are the suite's own (`observe`, `action_mode` ...)."""
    suite, name = find(task)
    return suite.make_env(name, **options)


def make_expert(task: str, /, *, quality: str = "expert", **options: Any) -> Agent:
    """The scripted demonstrator of `suite/task` at a quality preset."""
    suite, name = find(task)
    if suite.make_expert is None:
        raise UnknownNameError("expert for task", task, [])
    if quality not in suite.qualities:
        raise UnknownNameError("quality", quality, list(suite.qualities))
    return suite.make_expert(name, quality=quality, **options)
