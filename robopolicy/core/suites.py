"""How the library meets simulators: by entry point, never by import.

A suite is a plug-in under the entry-point group `robopolicy.suites`; its object is a `Suite`. Tasks are named
`suite/task`, and groups of them `suite/group`. A suite that fails to import, that is none, or whose packages
are not here in the versions that it needs, is named with the reason and, where it is known, the command that
mends it; its tasks cannot be asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np

from robopolicy.core.errors import ConfigError, UnknownNameError, UserError
from robopolicy.core.machine import pip_install
from robopolicy.core.protocols import Agent, Env

GROUP = "robopolicy.suites"
ALL = "all"  # the group of every task of a suite

# The seed of a reset fixes an episode's initial state. Those of collection and evaluation never meet.
COLLECTION = range(1_000_000)
SPLITS = {"dev": range(1_000_000, 2_000_000), "test": range(2_000_000, 3_000_000)}  # of evaluation


class SuiteError(UserError):
    """A suite is known, but cannot be used on this machine as it is."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A family of tasks. Making the object must not need the packages in `requires`.

    Args:
        name: the part before the slash, and the name of the entry point.
        tasks: task name to one-line description.
        make_env: `(task, **options) -> Env`.
        make_expert: `(task, quality=..., rows=B, spec=..., **options) -> Agent` for B rows of environments of
            this spec, or None where no demonstrator exists. `quality` is the name of a preset (`expert`,
            `mixed`, `play` ...), whose details the options change.
        qualities: preset name to one-line description; as many as `make_expert` knows.
        env_options: preset name to options of the environment in which it is to be demonstrated, where the
            usual ones do not suit it (`play` does not end when a goal is met).
        relabel: `(task, state [L S], names [S]) -> (reward [L], success [L])`, the rewards a task would have
            given along recorded states, or None where they cannot be known from states.
        groups: group name to the names of tasks that belong together, as a benchmark has them. Every suite
            has `all`.
        requires: what must be installed, as pip is told it: `metaworld==3.0.0`.
    """

    name: str
    tasks: Mapping[str, str]
    make_env: Callable[..., Env]
    make_expert: Callable[..., Agent] | None = None
    qualities: Mapping[str, str] = field(default_factory=dict)
    env_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    relabel: Callable[[str, np.ndarray, tuple[str, ...]], tuple[np.ndarray, np.ndarray]] | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    requires: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("tasks", "qualities", "env_options", "groups"):
            if not isinstance(given := getattr(self, name), Mapping):
                raise ConfigError(f"{name} of suite '{self.name}' is {given!r:.60}; a mapping is meant")
        if (self.make_expert is None) != (not self.qualities):
            raise ConfigError(
                f"suite '{self.name}' has make_expert={self.make_expert} and the qualities "
                f"{list(self.qualities)}; give both, or neither"
            )
        for group, names in self.groups.items():
            if strange := [name for name in names if name not in self.tasks]:
                raise ConfigError(
                    f"suite '{self.name}' has no tasks {strange}, which its group '{group}' names"
                )
            if group in (ALL, *self.tasks):
                raise ConfigError(f"suite '{self.name}' has a group '{group}'; that name is taken")

    def members(self, name: str) -> tuple[str, ...]:
        """The names of the tasks in the group of this name: one for a task's name, none for a strange one."""
        if name in self.tasks:
            return (name,)
        return tuple(self.tasks) if name == ALL else self.groups.get(name, ())


@dataclass(frozen=True, kw_only=True)
class Unusable:
    """Why a suite cannot be used here.

    Args:
        reason: what is the matter.
        fix: the command that mends it; empty where it is not known.
    """

    reason: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.reason}; run `{self.fix}`" if self.fix else self.reason


@cache
def suites() -> tuple[dict[str, Suite], dict[str, Unusable]]:
    """The suites that can be used, by name, and what keeps each of the others from it."""
    found: dict[str, Suite] = {}
    failed: dict[str, Unusable] = {}
    for entry in entry_points(group=GROUP):
        # A foreign plug-in may fail in any way; it must not take the others with it.
        try:
            suite = _load(entry)
            lacks = {requirement: reason for requirement in suite.requires if (reason := unmet(requirement))}
        except Exception as error:
            failed[entry.name] = Unusable(reason=f"does not load: {type(error).__name__}: {error}")
            continue
        if lacks:
            failed[entry.name] = Unusable(reason="; ".join(lacks.values()), fix=pip_install(*lacks))
        else:
            found[entry.name] = suite
    return found, failed


def _load(entry: EntryPoint) -> Suite:
    suite = entry.load()
    if not isinstance(suite, Suite):
        raise SuiteError(f"{entry.value} is a {type(suite).__name__}; a {Suite.__module__}.Suite is meant")
    if suite.name != entry.name:
        raise SuiteError(
            f"{entry.value} is named '{suite.name}', its entry point '{entry.name}'; give both one name"
        )
    return suite


def unmet(requirement: str) -> str:
    """What is wrong with a requirement such as `mujoco>=3.8,<3.9`, in words; empty where it is met."""
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    try:
        have = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return f"needs {requirement}, which is not installed"
    if wanted.specifier.contains(have, prereleases=True):
        return ""
    return f"needs {requirement}, but {wanted.name} {have} is installed"


def find(task: str) -> tuple[Suite, str]:
    """The suite and the task's name within it, of `suite/task`.

    Raises:
        ConfigError: not a string, or a group of tasks.
        SuiteError: the suite is known, but cannot be used here; with the command that mends it.
        UnknownNameError: with the nearest names.
    """
    members = members_of(task)
    suite, _, name = members[0].partition("/")
    if members != (task,):
        raise ConfigError(
            f"{task} is a group of {len(members)} tasks; name one of them: {', '.join(members)}"
        )
    return suites()[0][suite], name


def members_of(task: str) -> tuple[str, ...]:
    """The tasks, as `suite/task`, of a group `suite/group`; a task by itself is a group of its own.

    Raises:
        ConfigError: not a string.
        SuiteError: the suite is known, but cannot be used here; with the command that mends it.
        UnknownNameError: with the nearest names.
    """
    if not isinstance(task, str):
        raise ConfigError(f"task is {task!r}; suite/task is meant, see `robopolicy list`")
    found, failed = suites()
    suite_name, _, name = task.partition("/")
    if suite_name in failed:
        raise SuiteError(f"suite '{suite_name}' {failed[suite_name]}")
    members = found[suite_name].members(name) if suite_name in found else ()
    if not members:
        known = [f"{suite.name}/{name}" for suite in found.values() for name in (*suite.tasks, *suite.groups)]
        raise UnknownNameError("task", task, known)
    return tuple(f"{suite_name}/{member}" for member in members)


def make_env(task: str, /, **options: Any) -> Env:
    """The environment of `suite/task`; options are the suite's own (`observe`, `action_mode` ...)."""
    suite, name = find(task)
    return suite.make_env(name, **options)


def make_expert(task: str, /, *, quality: str = "expert", **options: Any) -> Agent:
    """The scripted demonstrator of `suite/task` at a quality preset, see `demonstrator`."""
    return demonstrator(task, quality)(find(task)[1], quality=quality, **options)


def demonstrator(task: str, quality: str) -> Callable[..., Agent]:
    """The `make_expert` of the suite of `suite/task`.

    Raises:
        ConfigError: it has none; names the suites that have.
        UnknownNameError: not of this quality; with the nearest names.
    """
    suite, _ = find(task)
    if suite.make_expert is None:
        able = sorted(name for name, other in suites()[0].items() if other.make_expert is not None)
        raise ConfigError(f"{suite.name} has no scripted expert, so {task} has none; suites with one: {able}")
    if quality not in suite.qualities:
        raise UnknownNameError("quality", quality, list(suite.qualities))
    return suite.make_expert
