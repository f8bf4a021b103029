"""Episodes in which somebody acts, and what is seen in them."""

from __future__ import annotations

import numpy as np

from robopolicy.control.loop import run_episode
from robopolicy.core.protocols import Agent, Env
from robopolicy.core.types import Step


class _Kept:
    """An observer that keeps what it sees."""

    def start(self, row: int, step: Step, seed: int) -> None:
        self.steps = [step]

    def step(self, row: int, step: Step) -> None:
        self.steps.append(step)

    def end(self, row: int) -> None:
        """Nothing more is seen."""


def acted(env: Env, agent: Agent, seed: int) -> list[Step]:
    """The steps of an episode, the first being its reset."""
    kept = _Kept()
    run_episode(env, agent, [kept], seed)
    return kept.steps


def part(env: Env, step: Step, prefix: str) -> np.ndarray:
    """The elements of a step's state whose names begin so."""
    return step.obs.state[[name.startswith(prefix) for name in env.spec.state.names]]
