"""The arm's scenes and the mazes of OGBench 1.2.2, five goals each, and what to say of them without importing
it.

`cube-single-task2` is its `cube-single-singletask-task2-v0`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What the five tasks of a scene or a maze share.

    Args:
        name: OGBench's.
        description: one line for a list.
        usual: the task that it takes where none is named.
        time_limit: control steps.
        arm: an arm at a table; otherwise a body in a maze.
        cubes: how many.
        buttons: where each is pressed, m.
        fixtures: there are a drawer and a window, each locked by one of the buttons.
        stacks: in collections, range of the chance that a cube goes onto another; drawn once per episode.
    """

    name: str
    description: str
    usual: int
    time_limit: int
    arm: bool = True
    cubes: int = 0
    buttons: tuple[tuple[float, float, float], ...] = ()
    fixtures: bool = False
    stacks: tuple[float, float] = (0.0, 0.0)


def _cubes(size: str, cubes: int, time_limit: int, stacks: tuple[float, float]) -> Domain:
    said = "move a cube" if cubes == 1 else f"move up to {cubes} cubes, some onto others,"
    return Domain(
        name=f"cube-{size}",
        description=f"{said} to where the goal has them",
        usual=2,
        time_limit=time_limit,
        cubes=cubes,
        stacks=stacks,
    )


def _puzzle(rows: int, columns: int, usual: int, time_limit: int) -> Domain:
    return Domain(
        name=f"puzzle-{rows}x{columns}",
        description=f"Lights Out with {rows * columns} buttons: each switches itself and its neighbours",
        usual=usual,
        time_limit=time_limit,
        buttons=tuple(
            (0.425 + 0.1 * row - 0.05 * (rows - 1), 0.1 * column - 0.05 * (columns - 1), 0.1254)
            for row in range(rows)
            for column in range(columns)
        ),
    )


def _maze(body: str, size: str) -> Domain:
    to = "a goal in a maze" + (" with teleporters" if size == "teleport" else f" of {size} size")
    said = f"push a point to {to}" if body == "point" else f"walk with an ant of 8 joints to {to}"
    return Domain(name=f"{body}maze-{size}", description=said, usual=1, time_limit=1000, arm=False)


_ALL = (
    _cubes("single", 1, 200, (0.0, 0.0)),
    _cubes("double", 2, 500, (0.0, 0.25)),
    _cubes("triple", 3, 1000, (0.05, 0.35)),
    _cubes("quadruple", 4, 1000, (0.1, 0.5)),
    _cubes("octuple", 8, 1500, (0.0, 0.35)),
    Domain(
        name="scene",
        description="set a cube, a drawer, a window and the two buttons that lock them as the goal has them",
        usual=2,
        time_limit=750,
        cubes=1,
        buttons=((0.58, -0.05, 0.1254), (0.58, 0.05, 0.1212)),
        fixtures=True,
    ),
    _puzzle(3, 3, 4, 500),
    _puzzle(4, 4, 4, 500),
    _puzzle(4, 5, 2, 1000),
    _puzzle(4, 6, 2, 1000),
    *(_maze(body, size) for body in ("point", "ant") for size in ("medium", "large", "giant", "teleport")),
)

DOMAINS = {domain.name: domain for domain in _ALL}
TASKS = {
    f"{domain.name}-task{number}": f"{domain.description}; goal {number} of 5"
    + (", the usual one" if number == domain.usual else "")
    for domain in _ALL
    for number in range(1, 6)
}


def split(task: str) -> tuple[Domain, int]:
    """The domain of a task, and which of its five goals it has."""
    name, _, number = task.rpartition("-task")
    return DOMAINS[name], int(number)
