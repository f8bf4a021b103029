"""How a demonstrator moves: hands that are brought to poses one after another.

A plan is a generator of moves in the order of the motion; it gets back the scene as it is when each is done.
Each control step commands the hands straight towards the poses of the current move, from where they are seen
to be.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from sim.robosuite.tasks import Task

OPEN, CLOSED = -1.0, 1.0

_STEP = np.array([0.05] * 3 + [0.5] * 3)  # m, rad: the most that OSC_POSE does in a control step
_GAIN = 2.0  # of what is missing; it does only part of what it is told within the step
_REACH = 0.1  # m that a radian of turning counts as
_STILL = 3e-4  # m or rad that still fingers move in a control step, at most
_CREEP = 0.1  # of the fastest they were: so slowly they squeeze
_NEARER = 1e-3  # m that hands come nearer in `_TRIES` control steps, at least
_TRIES = 10
_BASES = {1: [[0.0]], 2: [[np.pi / 2], [-np.pi / 2]]}  # rad: how the robots stand, by their number


@dataclass(frozen=True)
class Scene:
    """What a demonstrator sees, for K hands.

    Args:
        hands: the points between the fingers `[K 3]`, m.
        turns: the orientations of the hands; along their z they point, along their x the fingers open.
        fingers: where the first finger of each hand is `[K]`, m or rad.
        things: by the names of `tasks.Task.things`.
    """

    hands: np.ndarray
    turns: Rotation
    fingers: np.ndarray
    things: dict[str, np.ndarray]

    @staticmethod
    def of(state: np.ndarray, task: Task) -> Scene:
        """The scene that the state `[S]` of `spec.seen_by_expert` tells of."""
        own, things = np.split(state, [8 * task.arms])
        hands = own.reshape(task.arms, 8)
        return Scene(hands[:, :3], Rotation.from_quat(hands[:, 3:7]), hands[:, 7], task.things_in(things))

    def yaw(self, hand: int = 0) -> float:
        """The direction in which the fingers open, rad."""
        x, y, _ = self.turns[hand].as_matrix()[:, 0]
        return float(np.arctan2(y, x))


@dataclass(frozen=True, kw_only=True)
class Move:
    """Bring the hands to poses, then go on.

    Args:
        at: where the points between the fingers go `[K 3]`, m.
        turns: K orientations.
        grip: `OPEN` or `CLOSED`.
        speed: of the fastest that the controller does.
        within: go on when the hands are this near, m (a radian counts as 0.1 m), or come no nearer.
        wait: go on only when the fingers are still, too.
    """

    at: np.ndarray
    turns: Rotation
    grip: float
    speed: float = 1.0
    within: float = 0.01
    wait: bool = False


@dataclass(frozen=True, kw_only=True)
class Style:
    """How an episode is done, where there is more than one way.

    Args:
        turn: which of the grasps that are alike: 0 is the one that turns the hand least.
        side: -1 or 1, on which side of the straight line things are carried; 0: along it.
        height: how much higher than needed, m.
    """

    turn: int = 0
    side: int = 0
    height: float = 0.0

    @staticmethod
    def drawn(rng: np.random.Generator) -> Style:
        """One of the ways."""
        return Style(
            turn=int(rng.integers(2)), side=int(rng.choice([-1, 1])), height=float(rng.uniform(0.0, 0.06))
        )


Plan = Generator[Move, Scene, None]


def script(
    task: Task, plan: Callable[[Scene, Style], Plan], style: Style
) -> Callable[[np.ndarray], np.ndarray]:
    """Carries out a plan, again when it is through: the whole state `[S]` to an action `[A]`."""
    return _Script(task, plan, style).next


class _Script:
    """A plan and where it has got to."""

    def __init__(self, task: Task, plan: Callable[[Scene, Style], Plan], style: Style) -> None:
        self._task, self._make, self._style = task, plan, style
        self._bases = Rotation.from_euler("z", _BASES[task.arms])
        self._plan: Plan | None = None

    def next(self, state: np.ndarray) -> np.ndarray:
        """The action `[A]` to command now, which may be out of bounds."""
        scene = Scene.of(state, self._task)
        if self._plan is None:
            self._begin_plan(scene)
        elif self._done(scene):
            try:
                self._begin(self._plan.send(scene))
            except StopIteration:
                self._begin_plan(scene)
        self._before = scene
        return self._towards(scene)

    def _begin_plan(self, scene: Scene) -> None:
        self._plan = self._make(scene, self._style)
        self._begin(next(self._plan))

    def _begin(self, move: Move) -> None:
        self._move, self._best, self._tries, self._still, self._fastest = move, np.inf, 0, 0, 0.0

    def _missing(self, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        """What way `[K 3]` and what turn `[K 3]` (a vector of rotation) are still to be made."""
        return self._move.at - scene.hands, (self._move.turns * scene.turns.inv()).as_rotvec()

    def _done(self, scene: Scene) -> bool:
        way, turn = (np.linalg.norm(part, axis=1) for part in self._missing(scene))
        far = np.hypot(way, _REACH * turn).max()
        if far < self._best - _NEARER:
            self._best, self._tries = far, 0
        self._tries += 1
        moved = np.abs(scene.fingers - self._before.fingers).max()
        self._fastest = max(moved, self._fastest)
        self._still = self._still + 1 if moved < max(_STILL, _CREEP * self._fastest) else 0
        ready = not self._move.wait or self._still > 2
        return ready and (far < self._move.within or self._tries > _TRIES)

    def _towards(self, scene: Scene) -> np.ndarray:
        way, turn = (self._bases.inv().apply(part) for part in self._missing(scene))
        asked = _GAIN * np.concatenate([way, turn], axis=1) / _STEP
        most = np.abs(asked).max(axis=1, keepdims=True)
        asked *= np.minimum(1.0, self._move.speed / np.maximum(most, 1e-9))
        return np.concatenate([asked, np.full((len(asked), 1), self._move.grip)], axis=1).ravel()


def down(yaws: Sequence[float]) -> Rotation:
    """Hands that point down, with fingers that open along `yaws`, rad."""
    return Rotation.from_matrix(
        [[[np.cos(yaw), np.sin(yaw), 0], [np.sin(yaw), -np.cos(yaw), 0], [0, 0, -1]] for yaw in yaws]
    )


def nearest(yaw: float, like: float, apart: float, style: Style = Style()) -> float:
    """Of the directions `yaw` and all `apart` from it the one nearest to `like`, or the next best, rad."""
    off = np.remainder(yaw - like + apart / 2, apart) - apart / 2
    if style.turn:
        off -= np.copysign(apart, off)
    return float(like + off)


def yaw_of(quat: np.ndarray) -> float:
    """The direction of the x axis of what lies level, rad; `quat [4]` is xyzw."""
    x, y, _ = Rotation.from_quat(quat).as_matrix()[:, 0]
    return float(np.arctan2(y, x))
