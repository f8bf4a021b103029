"""The progress bar of one command: how much is done, and the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

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
    """A bar that is told how much of how much is done. It is drawn when it is first told something: a mistake
    that is found before work begins is said without one.
    """
    with ExitStack() as drawn:
        display = bars()
        task = display.add_task(title, total=None)

        def report(done: int, of: int) -> None:
            if not display.live.is_started:
                drawn.enter_context(display)
            display.update(task, completed=done, total=of)

        yield report
