"""The one loop that acts: demonstration, evaluation, online collection, deployment and replay.

A group of environments is stepped in lock-step. A row whose episode is over freezes: its environment is left
alone and its last step is shown to the agent again, so that the batch keeps its size until the last row is
done. One episode is a group of one row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robopolicy.core.errors import UserError
from robopolicy.core.protocols import Agent, Env, Observer
from robopolicy.core.spec import Spec
from robopolicy.core.types import Step


class DivergedError(UserError, ValueError):
    """An agent's action is not finite; no environment has seen it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one episode.

    Args:
        seed: of the reset.
        success: `info["success"]` of the last step; a success that was lost again does not count.
        length: control steps made.
        total_reward: undiscounted.
        terminated: whether the task ended the episode; otherwise its time ran out.
    """

    seed: int
    success: bool
    length: int
    total_reward: float
    terminated: bool


class EnvGroup(ABC):
    """B environments that are commanded together; where and how they run is the group's own affair."""

    spec: Spec

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def reset(self, seeds: Sequence[int]) -> list[Step]:
        """Begin an episode in each of the first `len(seeds)` rows."""

    @abstractmethod
    def step(self, actions: np.ndarray, rows: Sequence[int]) -> list[Step]:
        """Command `actions[row]` of `actions [B A]` in each of `rows`; one step for each, in that order."""

    @abstractmethod
    def close(self) -> None:
        """Release what is held; a second call does nothing."""


class SerialEnvs(EnvGroup):
    """Environments of this process, one after the other."""

    def __init__(self, envs: Sequence[Env]) -> None:
        if not envs:
            raise ValueError("a group needs at least one environment")
        self._envs = tuple(envs)
        self.spec = envs[0].spec

    def __len__(self) -> int:
        return len(self._envs)

    def reset(self, seeds: Sequence[int]) -> list[Step]:
        """Begin an episode in each of the first rows."""
        return [env.reset(seed) for env, seed in zip(self._envs, seeds, strict=False)]

    def step(self, actions: np.ndarray, rows: Sequence[int]) -> list[Step]:
        """Command each of `rows`."""
        return [self._envs[row].step(actions[row]) for row in rows]

    def close(self) -> None:
        """Close every environment."""
        for env in self._envs:
            env.close()


def run_episodes(
    envs: Sequence[Env] | EnvGroup,
    agent: Agent,
    seeds: Sequence[int],
    observers: Sequence[Observer] = (),
    max_steps: int | None = None,
) -> list[Outcome]:
    """One episode for each seed, to its end.

    Args:
        envs: environments, or a group of rows; as many as there are seeds, or more, which then stay as
            they are.
        agent: acts in all rows at once.
        seeds: of the resets, one for each row.
        observers: told of every step of every live row, in row order.
        max_steps: cut longer episodes off; the last step is then marked as truncated.

    Raises:
        DivergedError: the agent's action is not finite.
        ValueError: it has the wrong shape, or there are fewer environments than seeds.
    """
    group = envs if isinstance(envs, EnvGroup) else SerialEnvs(envs)
    if len(seeds) > len(group):
        raise ValueError(f"{len(seeds)} seeds for {len(group)} environments; make more of them")
    steps = group.reset(seeds)
    agent.reset(range(len(seeds)), seeds)
    for row, (step, seed) in enumerate(zip(steps, seeds, strict=True)):
        for observer in observers:
            observer.start(row, step, seed)
    lengths, returns = [0] * len(seeds), [0.0] * len(seeds)
    live = list(range(len(seeds)))
    while live:
        actions = agent.act(steps)
        _check(actions, (len(seeds), len(group.spec.action)), live, lengths)
        for row, step in zip(live, group.step(actions, live), strict=True):
            lengths[row] += 1
            returns[row] += step.reward
            if max_steps is not None and lengths[row] >= max_steps and not step.done:
                step = replace(step, truncated=True)
            steps[row] = step
            for observer in observers:
                observer.step(row, step)
                if step.done:
                    observer.end(row)
        live = [row for row in live if not steps[row].done]
    return [
        Outcome(
            seed=int(seed),
            success=bool(step.info.get("success", False)),
            length=length,
            total_reward=float(total),
            terminated=step.terminated,
        )
        for seed, step, length, total in zip(seeds, steps, lengths, returns, strict=True)
    ]


def run_episode(
    env: Env, agent: Agent, observers: Sequence[Observer] = (), seed: int = 0, max_steps: int | None = None
) -> Outcome:
    """One row of `run_episodes`."""
    return run_episodes([env], agent, [seed], observers, max_steps)[0]


def _check(actions: np.ndarray, shape: tuple[int, int], live: list[int], lengths: list[int]) -> None:
    if np.shape(actions) != shape:
        raise ValueError(f"the agent returned actions of shape {np.shape(actions)}; {shape} [B A] is meant")
    for row in live:
        if not np.isfinite(actions[row]).all():
            raise DivergedError(
                f"the action is {actions[row]} in row {row} at step {lengths[row]}, which is not finite and "
                "was not sent; train again, or take an earlier checkpoint"
            )
