"""What a task wants, judged from the state that is recorded: so a collection can be rewarded for any task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from sim.ogbench.state import CENTRE, DM, DRAWER, WINDOW
from sim.ogbench.tasks import Domain, split
from sim.ogbench.worlds import make

_NEAR = 0.04  # m


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing that is to be somewhere.

    Args:
        names: of the elements of the state that tell where it is.
        where: it is to be, `[len(names)]`, in their units.
        within: how far from there it may be.
    """

    names: tuple[str, ...]
    where: tuple[float, ...]
    within: float


@dataclass(frozen=True, kw_only=True)
class Goal:
    """All that a task wants."""

    parts: tuple[Part, ...]

    @property
    def looks_at(self) -> tuple[str, ...]:
        """The elements of the state that it is judged by."""
        return tuple(name for part in self.parts for name in part.names)

    def met(self, values: np.ndarray) -> np.ndarray:
        """Which parts are met, `[.. P]` bool, in states of which `values [.. len(looks_at)]` are the elements
        that are looked at.
        """
        found, begin = [], 0
        for part in self.parts:
            end = begin + len(part.names)
            away = values[..., begin:end].astype(np.float64) - part.where
            found.append(np.linalg.norm(away, axis=-1) <= part.within)
            begin = end
        return np.stack(found, axis=-1)


@cache
def goal_of(task: str) -> Goal:
    """The goal of a task."""
    domain, number = split(task)
    return Goal(parts=tuple(_parts(domain, make(domain, number).task_infos[number - 1])))


def _parts(domain: Domain, told: Mapping[str, Any]) -> list[Part]:
    """As OGBench tells of a goal, in a way of each kind of scene."""
    if not domain.arm:
        within = 1.0 if domain.name.startswith("point") else 0.5
        return [Part(names=("body.x", "body.y"), where=tuple(told["goal_xy"]), within=within)]
    scene = told.get("goal", {})
    cubes = scene.get("block_xyzs", told.get("goal_xyzs", ()))
    buttons = scene.get("button_states", told.get("goal_button_states", ()))
    parts = [
        Part(
            names=tuple(f"env.cube{index}.{axis}" for axis in "xyz"),
            where=tuple(DM * (at - CENTRE)),
            within=DM * _NEAR,
        )
        for index, at in enumerate(cubes)
    ]
    parts += [
        Part(names=(f"env.button{index}.on",), where=(float(on),), within=0.5)
        for index, on in enumerate(buttons)
    ]
    for fixture, scale in (("drawer", DRAWER), ("window", WINDOW)) if domain.fixtures else ():
        at = scale * scene[f"{fixture}_pos"]
        parts.append(Part(names=(f"env.{fixture}.pos",), where=(at,), within=scale * _NEAR))
    return parts
