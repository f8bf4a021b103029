"""What one evaluation worker does: it makes environments, loads policies and runs blocks of episodes.

It imports no statistics, so that a worker process is quick to start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robopolicy.control.executor import Executor
from robopolicy.control.loop import DivergedError, EnvGroup, SerialEnvs, run_episodes
from robopolicy.control.parallel import WorkerEnvs
from robopolicy.core import checkpoint, suites
from robopolicy.core.errors import ConfigError
from robopolicy.core.machine import check_device
from robopolicy.core.protocols import ChunkPolicy, Env
from robopolicy.core.spec import Spec
from robopolicy.core.types import Step
from robopolicy.evaluate.blocks import Block, EpisodeRecord, Job

PolicySource = str | Path | ChunkPolicy
TaskSource = str | Callable[[], Env]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the episodes are run; fixed before the first of them.

    Args:
        task: `suite/task`, or a picklable function that makes an environment.
        env_options: of the suite. A policy with cameras gets `observe=all` where nothing else is said.
        execute: actions of each chunk to execute; None for half of them.
        latency_ticks: between an observation and the chunk that answers it.
        max_steps: cut episodes off earlier than the task does.
        block_rows: episodes in lock-step.
        device: where policies compute.
    """

    task: TaskSource
    env_options: Mapping[str, Any] = field(default_factory=dict)
    execute: int | None = None
    latency_ticks: int = 0
    max_steps: int | None = None
    block_rows: int = 10
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_device(self.device)
        for name, value, least in (
            ("latency_ticks", self.latency_ticks, 0),
            ("max_steps", self.max_steps, 1),
            ("block_rows", self.block_rows, 1),
        ):
            if value is not None and value < least:
                raise ConfigError(f"{name} is {value}; it must be at least {least}")

    def make_env(self, spec: Spec) -> Env:
        """An environment that shows what a policy of this spec looks at."""
        if not isinstance(self.task, str):
            return self.task()
        seen = {"observe": "all" if spec.images else "state"}
        return suites.make_env(self.task, **{**seen, **self.env_options})

    def executor(self, policy: ChunkPolicy, spec: Spec) -> Executor:
        """What drives the policy in environments of `spec`; it refuses what does not fit."""
        return Executor(
            policy,
            env_spec=spec,
            execute=self.execute,
            latency_ticks=self.latency_ticks,
            batch=self.block_rows,
            device=self.device,
        )

    def to_plain(self) -> dict[str, Any]:
        """JSON values."""
        name = self.task if isinstance(self.task, str) else self.task.__qualname__
        return {**asdict(self), "task": name, "env_options": dict(self.env_options)}


def label(source: PolicySource) -> str:
    """A policy as a person knows it: the path of its checkpoint, or what it is."""
    return str(source) if isinstance(source, str | Path) else type(source).__name__


def load(source: PolicySource, device: str) -> ChunkPolicy:
    """A policy from a checkpoint, on `device`; or the policy itself, which must be there already.

    Raises:
        ConfigError: the checkpoint holds something that proposes no actions.
    """
    if not isinstance(source, str | Path):
        return source
    learner = checkpoint.load(source, device)
    if not isinstance(learner, ChunkPolicy):
        raise ConfigError(f"{source} holds a {type(learner).__name__}, which proposes no action chunks")
    return learner


@dataclass(frozen=True)
class Worker:
    """Makes the function that runs a job; loads and builds in the process that will run it.

    Args:
        protocol: how.
        replicas: the policies by name, and by training seed.
        env_workers: processes that step the environments for this one; none of them: this one does.
    """

    protocol: Protocol
    replicas: Mapping[str, Sequence[PolicySource]]
    env_workers: int = 0

    @contextmanager
    def __call__(self) -> Iterator[Callable[[Job], Block]]:
        """Gives the function; on leaving, closes the environments."""
        torch.set_num_threads(1)
        policies: dict[tuple[str, int], ChunkPolicy] = {}
        groups: dict[bool, EnvGroup] = {}  # by whether cameras are rendered

        def run(job: Job) -> Block:
            key, source = (job.name, job.replica), self.replicas[job.name][job.replica]
            if key not in policies:
                policies[key] = load(source, self.protocol.device)
            spec = policies[key].spec
            group = groups.get(bool(spec.images))
            if group is None or len(group) < len(job.seeds):
                if group is not None:
                    group.close()
                group = groups[bool(spec.images)] = self._group(spec, len(job.seeds))
            try:
                return run_block(policies[key], group, job.seeds, self.protocol)
            except DivergedError as error:
                raise DivergedError(f"policy '{job.name}' ({label(source)}): {error}") from error

        try:
            yield run
        finally:
            for group in groups.values():
                group.close()

    def _group(self, spec: Spec, rows: int) -> EnvGroup:
        make = partial(self.protocol.make_env, spec)
        if self.env_workers:
            return WorkerEnvs(make, rows=rows, workers=self.env_workers)
        return SerialEnvs([make() for _ in range(rows)])


def run_block(policy: ChunkPolicy, envs: EnvGroup, seeds: Sequence[int], protocol: Protocol) -> Block:
    """One block of episodes in lock-step."""
    agent = protocol.executor(policy, envs.spec)
    tape = _Actions()
    begun = time.perf_counter()
    outcomes = run_episodes(envs, agent, seeds, [tape], protocol.max_steps)
    step_s = (time.perf_counter() - begun) / sum(outcome.length for outcome in outcomes)
    records = [
        EpisodeRecord(**asdict(outcome), underruns=underruns, wall_s=step_s * outcome.length)
        for outcome, underruns in zip(outcomes, agent.underruns, strict=True)
    ]
    return Block(tuple(records), tuple(np.stack(tape.rows[row]) for row in range(len(seeds))))


class _Actions:
    """An observer that keeps what was commanded: with the seed, all that a replay needs."""

    def __init__(self) -> None:
        self.rows: dict[int, list[np.ndarray]] = {}

    def start(self, row: int, step: Step, seed: int) -> None:
        self.rows[row] = []

    def step(self, row: int, step: Step) -> None:
        assert step.proposed is not None
        self.rows[row].append(np.asarray(step.proposed, np.float32))

    def end(self, row: int) -> None: ...
