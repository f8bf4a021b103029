"""Play: random goals, one after another, with no task in mind.

In any task's scene the player wanders, pushes what is in reach, picks it up and puts it somewhere: now at a
random place, now on another thing or a goal; a fixture it works as the tasks do that are about such a
fixture. Like any plan it sees states alone. What a task would have paid for it, `Suite.relabel` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np

from sim.tabletop.moves import FLOOR, carry, hand_at, held, let_go, pick_up
from sim.tabletop.props import RADIUS, spot
from sim.tabletop.state import OBJECTS, Scene
from sim.tabletop.task import Move, Plan, Style, Task

_SALIENT = 0.4  # chance that a thing is put on another thing or a goal
_LONGEST = 0.1  # m of a push
_MARGIN = 0.02  # m beyond the ring where things begin: still in reach


def play(
    scene: Scene,
    draw: Callable[[], Style],
    rng: np.random.Generator,
    *,
    places: int,
    fixture_tasks: tuple[Task, ...],
) -> Plan:
    """Moves without end.

    Args:
        scene: as it is now.
        draw: a new style for each goal.
        rng: what chooses.
        places: how many goals the scene shows.
        fixture_tasks: tasks about the scene's fixture, if it has one.
    """
    while True:
        style = draw()
        near = [slot for slot in range(OBJECTS) if _in_reach(scene, slot)]
        kinds = ["wander"] + ["push", "put", "put"] * bool(near) + ["work", "work"] * bool(fixture_tasks)
        kind = kinds[rng.integers(len(kinds))]
        slot = int(rng.choice(near)) if near else 0
        if kind == "put":
            scene = yield from _put(scene, slot, _place(scene, slot, places, rng), style)
        elif kind == "push":
            scene = yield from _push(scene, slot, style, rng)
        elif kind == "work":
            yield from fixture_tasks[rng.integers(len(fixture_tasks))].plan(scene, style)
        # Everything ends with a move in the air, which also tells how things are now.
        scene = yield _wander(rng)


def _in_reach(scene: Scene, slot: int) -> bool:
    thing = scene.object(slot)
    radius = np.linalg.norm(thing.position[:2])
    return bool(thing.size > 0 and RADIUS[0] - _MARGIN < radius < RADIUS[1] + _MARGIN)


def _wander(rng: np.random.Generator) -> Move:
    pose = np.array([*spot(rng), rng.uniform(0.06, 0.14), rng.uniform(1.2, 1.57), rng.uniform(-1.5, 1.5)])
    return Move(pose=pose, gripper=float(rng.uniform(0.0, 1.0)), within=0.02, patience=40)


def _place(scene: Scene, slot: int, places: int, rng: np.random.Generator) -> np.ndarray:
    """Where to put a thing `[3]`: the height is what it will lie on."""
    salient = [scene.goal(index) for index in range(places)]
    for other in range(OBJECTS):
        if other != slot and _in_reach(scene, other):
            thing = scene.object(other)
            salient.append(thing.position + np.array([0.0, 0.0, float(thing.size) / 2]))
    if salient and rng.random() < _SALIENT:
        return salient[rng.integers(len(salient))]
    return np.array([*spot(rng), 0.0])


def _put(scene: Scene, slot: int, place: np.ndarray, style: Style) -> Generator[Move, Scene, Scene]:
    """Pick a thing up, carry it to `place [3]` and let go."""
    stands = scene.object(slot).position[2]
    grip, scene = yield from pick_up(scene, slot, style)
    if held(scene, slot):
        scene = yield from carry(scene, grip, place, style)
        scene = yield from let_go(grip, place + np.array([0.0, 0.0, stands + 0.002]), style)
    return scene


def _push(scene: Scene, slot: int, style: Style, rng: np.random.Generator) -> Generator[Move, Scene, Scene]:
    """Push a thing some way towards a random place, low or high."""
    thing = scene.object(slot).position
    way = spot(rng) - thing[:2]
    length = float(np.linalg.norm(way))
    way /= max(length, 1e-6)
    low = max(FLOOR + 0.003, thing[2] * rng.uniform(1.0, 1.5))
    across = np.arctan2(way[1], way[0]) + np.pi / 2

    def tool(along: float, z: float, speed: float) -> Move:
        pose = hand_at(np.array([*(thing[:2] + along * way), z]), style.tilt, across)
        return Move(pose=pose, gripper=0.0, speed=speed, within=0.01, patience=40)

    yield tool(-0.055, style.lift, 0.3)
    yield tool(-0.055, low, 0.3)
    scene = yield tool(min(length, _LONGEST), low, 0.15)
    return scene
