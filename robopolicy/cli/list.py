"""usage: robopolicy list [suites|tasks|qualities|policies|recipes]

Lists what there is: the suites with the groups of tasks in them (every suite has SUITE/all), and for each
that cannot be used the command that installs what it lacks;
the tasks of those that can; the qualities their demonstrators know; the policies in configs/policy and the
recipes in configs/exp.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from robopolicy.cli.compose import split
from robopolicy.core.errors import UnknownNameError
from robopolicy.core.share import share
from robopolicy.core.suites import suites as all_suites


def run(args: Sequence[str]) -> None:
    """Print the tables asked for, all of them by default."""
    tables = {table.__name__: table for table in (suites, tasks, qualities, policies, recipes)}
    wanted = split(args, keys=False, sweeps=False).positional or tuple(tables)
    for name in wanted:
        if name not in tables:
            raise UnknownNameError("table", name, list(tables))
    for name in wanted:
        if rows := tables[name]():
            width = max(len(key) for key in rows)
            print(f"{name}:")
            print("".join(f"  {key:<{width}}  {what}\n" for key, what in rows.items()))


def suites() -> dict[str, str]:
    """Each suite: its number of tasks and its groups, or what it lacks and the command that installs it."""
    found, failed = all_suites()
    rows = {suite.name: ", ".join([f"{len(suite.tasks)} tasks", *suite.groups]) for suite in found.values()}
    return rows | {name: str(why) for name, why in failed.items()}


def tasks() -> dict[str, str]:
    """`suite/task` to its description."""
    found, _ = all_suites()
    return {f"{suite.name}/{task}": what for suite in found.values() for task, what in suite.tasks.items()}


def qualities() -> dict[str, str]:
    """`quality` to its description, with the suites that know it."""
    rows: dict[str, str] = {}
    for suite in all_suites()[0].values():
        for name, what in suite.qualities.items():
            rows[name] = (
                f"{what} ({suite.name})" if name not in rows else f"{rows[name]}; ({suite.name}) {what}"
            )
    return rows


def policies() -> dict[str, str]:
    """Names for `policy=`."""
    return described("policy")


def recipes() -> dict[str, str]:
    """Names for `+exp=`: settings with the scores that were measured with them."""
    return described("exp")


def described(group: str) -> dict[str, str]:
    """The options of a configuration group, each with the first sentence of its first comment."""
    folder = share("configs") / group
    return {path.stem: _first_sentence(path.read_text()) for path in sorted(folder.glob("*.yaml"))}


def _first_sentence(text: str) -> str:
    """The comment up to a full stop that a space or the comment's end follows; `# @` is Hydra's own."""
    lines = itertools.dropwhile(lambda line: not re.match(r"#\s*[^@\s]", line), text.splitlines())
    comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return re.split(r"(?<=\.)\s", " ".join(line.lstrip("# ") for line in comment), maxsplit=1)[0]
