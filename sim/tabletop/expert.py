"""The demonstrator: carries out a task's plan from the observed states alone.

One engine serves all tasks. Each control step it commands a pose a little way ahead of the measured one,
straight towards the current move's target, so that what it does depends on what it sees and little on what it
remembers; the command is lifted by the arm's known droop. `Quality` spoils it on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from robopolicy.core.errors import SpecMismatchError
from robopolicy.core.spec import Spec
from robopolicy.core.types import Step
from sim.tabletop import arm, state
from sim.tabletop.play import play
from sim.tabletop.quality import Quality
from sim.tabletop.state import Scene
from sim.tabletop.task import Move, Plan, Style, Task
from sim.tabletop.tasks import tasks_about

_LAG = 0.11  # s between a command and the arm being there, so speed x lag is how far ahead to command
_REACH = 0.1  # m that a radian of turning counts as
_MEMORY = 0.85  # per control step, of the noise


class Expert:
    """Demonstrates one task in B environments; a `robopolicy.core.protocols.Agent`.

    Args:
        task: what to do.
        quality: how well.
        rows: B.
        spec: of the environments, which says what an action means: joint positions (None too) or tool poses.

    Raises:
        SpecMismatchError: an action means something else.
    """

    def __init__(self, task: Task, *, quality: Quality, rows: int = 1, spec: Spec | None = None) -> None:
        self.task, self.quality = task, quality
        joint, ee = (state.make_spec(action_mode=mode, image_size=1) for mode in ("joint", "ee"))
        meant = joint if spec is None else spec
        if meant.semantics not in (joint.semantics, ee.semantics):
            raise SpecMismatchError(
                f"the expert commands joints or the tool's pose, not actions of {meant.semantics}; "
                "make the environment with action_mode=joint or action_mode=ee"
            )
        self._ee_actions = meant.semantics == ee.semantics
        self._action = meant.action
        self._rows: list[_Row | None] = [None] * rows

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """New episodes begin in these rows; their manner is drawn from their seeds."""
        for row, seed in zip(rows, seeds, strict=True):
            # A stream of its own: the environment draws its initial state from the same seed.
            self._rows[row] = _Row(self.task, self.quality, np.random.default_rng([seed, 0xE]))

    def act(self, steps: Sequence[Step]) -> np.ndarray:
        """The action of each row, `[B 6]` float32.

        Raises:
            SpecMismatchError: where the steps do not show the whole state (`observe` is `pixels`).
        """
        poses, grippers, noise = [], [], []
        for row, step in zip(self._rows, steps, strict=True):
            if step.obs.state.shape != (state.SIZE,):
                raise SpecMismatchError(
                    f"the expert needs the whole state [{state.SIZE}], this environment shows "
                    f"{step.obs.state.shape}; make it with observe='state' or observe='all'"
                )
            if row is None:
                raise RuntimeError("act was called before reset")
            pose, gripper = row.next(Scene(step.obs.state.astype(np.float64)))
            poses.append(pose)
            grippers.append(gripper)
            noise.append(row.noise)
        joints = arm.inverse(np.stack(poses))
        joints = joints - arm.droop(joints) + np.stack(noise)[:, :5]
        arms = arm.forward(joints) if self._ee_actions else joints
        return self._action.clip(
            np.concatenate([arms, np.array(grippers)[:, None]], axis=1).astype(np.float32)
        )


@dataclass
class _Row:
    """One episode's plan and where it has got to."""

    task: Task
    quality: Quality
    rng: np.random.Generator
    style: Style = field(init=False)
    plan: Plan | None = None
    move: Move | None = None
    ticks: int = 0
    arrived: int = 0
    pause: int = 0
    frozen: tuple[np.ndarray, float] | None = None

    def __post_init__(self) -> None:
        self.style = self.quality.style(self.rng)
        self.speed = self.rng.uniform(*self.quality.speed)
        self.noise = np.zeros(6)

    def next(self, scene: Scene) -> tuple[np.ndarray, float]:
        """The pose `[5]` and gripper angle to command now."""
        quality = self.quality
        self.noise = _MEMORY * self.noise + np.sqrt(1 - _MEMORY**2) * quality.noise * self.rng.normal(size=6)
        if self.pause > 0 and self.frozen is not None:
            self.pause -= 1
            return self.frozen
        move = self._current(scene)
        way = move.pose - scene.pose
        far = float(np.sqrt(way[:3] @ way[:3] + _REACH**2 * (way[3:] @ way[3:])))
        ahead = move.speed * self.speed * _LAG
        self.ticks += 1
        self.arrived += far < move.within or self.arrived > 0
        self.frozen = scene.pose + way * min(1.0, ahead / max(far, 1e-9)), move.gripper
        if quality.hesitate and self.rng.random() < quality.hesitate:
            self.pause = int(self.rng.integers(5, 21))
        return self.frozen

    def _current(self, scene: Scene) -> Move:
        if self.plan is None:
            self.plan = self._plan(scene)
            self._begin(next(self.plan))
        move = self.move
        assert move is not None
        if self.arrived > move.settle or self.ticks >= move.patience:
            try:
                move = self._begin(self.plan.send(scene))
            except StopIteration:
                # The plan is through, yet the episode goes on: begin again, unless misses go unnoticed. A
                # plan that finds all done, only not yet for long enough, has no move: stay.
                if self.style.recover:
                    self.plan = self._plan(scene)
                    move = self._begin(next(self.plan, move))
        return move

    def _plan(self, scene: Scene) -> Plan:
        if not self.quality.play:
            return self.task.plan(scene, self.style)
        props = self.task.props
        return play(
            scene,
            lambda: self.quality.style(self.rng),
            self.rng,
            places=sum(prop.role == "goal" for prop in props),
            fixture_tasks=tasks_about([prop for prop in props if prop.role == "fixture"]),
        )

    def _begin(self, move: Move) -> Move:
        self.move, self.ticks, self.arrived = move, 0, 0
        return move
