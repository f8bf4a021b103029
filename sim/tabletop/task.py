"""What a task is: props, where they begin, when it is solved, and how a demonstrator would do it.

A task is one small class in `tasks/`. `solved` reads states only, so the same function gives the reward while
the task runs and relabels recordings afterwards. `plan` is ordinary code in the order of the motion: it
yields moves and gets back the scene as it is when each is done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.tabletop.props import Pose, Prop
from sim.tabletop.state import Scene

Plan = Generator["Move", Scene, None]


class Task(ABC):
    """Base of every task; the class attributes are its description.

    Attributes:
        name: the part after `tabletop/`.
        description: one line for a list.
        instructions: paraphrases; the seed picks one per episode.
        props: what is on the table; objects and goals fill their slots of the state in this order.
        time_limit: control steps.
        hold: control steps for which `solved` must stay true.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    instructions: ClassVar[tuple[str, ...]]
    props: ClassVar[tuple[Prop, ...]] = ()
    time_limit: ClassVar[int] = 150
    hold: ClassVar[int] = 5

    @abstractmethod
    def place(self, rng: np.random.Generator) -> Mapping[str, Pose]:
        """Where each prop begins, by name."""

    @abstractmethod
    def solved(self, scene: Scene) -> np.ndarray:
        """Whether the goal is met in each of the scene's states `[... S]`: bool `[...]`."""

    @abstractmethod
    def plan(self, scene: Scene, style: Style) -> Plan:
        """The demonstrator's moves, one after another, in the style of this episode."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """Bring the tool to a pose, then go on.

    Args:
        pose: x, y, z (m), pitch, roll (rad), `[5]`.
        gripper: opening angle, rad.
        speed: m/s of the tool (a radian of turning counts as 0.1 m).
        within: go on when the tool is this near, m.
        settle: control steps to wait there (a gripper needs time to close).
        patience: control steps after which to go on although the tool did not arrive.
    """

    pose: np.ndarray
    gripper: float
    speed: float = 0.3
    within: float = 0.006
    settle: int = 0
    patience: int = 60


@dataclass(frozen=True, kw_only=True)
class Style:
    """How this episode is done: drawn from the seed once, so that one task is solved in several ways.

    Args:
        side: -1 or 1, which way round: route, or which of two equal grasps.
        tilt: pitch of the hand at work, rad (pi/2 points straight down).
        lift: height at which things are carried, m.
        miss: offset in m, across the thing, by which each try of a grasp misses; 0 hits.
        recover: whether a missed grasp is noticed and tried again.
    """

    side: int
    tilt: float
    lift: float
    miss: tuple[float, ...] = ()
    recover: bool = True
