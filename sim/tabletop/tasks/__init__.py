"""Every task of the suite. A new one is a class in a file here and its name in `TASKS`."""

from __future__ import annotations

from collections.abc import Collection

from robopolicy.core.errors import UnknownNameError
from sim.tabletop.props import Prop
from sim.tabletop.task import Task
from sim.tabletop.tasks.button import Button
from sim.tabletop.tasks.drawer import Drawer, DrawerClose
from sim.tabletop.tasks.pick import Pick, PickPlace
from sim.tabletop.tasks.sort import Sort
from sim.tabletop.tasks.stack import Stack
from sim.tabletop.tasks.touch import Push, Reach
from sim.tabletop.tasks.upright import Peg, Pour, Topple

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        Reach,
        Push,
        Pick,
        PickPlace,
        Stack,
        Sort,
        Topple,
        Peg,
        Pour,
        Drawer,
        DrawerClose,
        Button,
    )
}


def task(name: str) -> Task:
    """A task by name; `UnknownNameError` shows the nearest."""
    if name not in TASKS:
        raise UnknownNameError("task", f"tabletop/{name}", [f"tabletop/{known}" for known in TASKS])
    return TASKS[name]()


def tasks_about(props: Collection[Prop]) -> tuple[Task, ...]:
    """The tasks that have one of these props."""
    return tuple(kind() for kind in TASKS.values() if any(prop in kind.props for prop in props))
