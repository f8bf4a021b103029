"""The progress bar of one command: how much is done, and the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def bars(console: Console | None = None) -> Progress:
    """A display of bars with counts, time elapsed and time left; on stderr, so that results can be piped."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console or Console(stderr=True), speed_estimate_period=60)


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show one bar while the body runs; it is told how much of how much is done."""
    with bars() as display:
        task = display.add_task(title, total=None)
        yield lambda done, of: display.update(task, completed=done, total=of)
