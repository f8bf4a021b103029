"""Rolls policies out from fixed initial states and says how often they succeed, with intervals.

The unit of work is a block of episodes in lock-step: always the same seeds in the same rows, whichever worker
runs it, so that one worker and many give the same bits. Every policy meets the same states. A finished block
is kept on disk under the hash of what was evaluated; a run that was interrupted goes on behind it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robopolicy.control.executor import ChunkPolicy, Executor, batch_of
from robopolicy.control.loop import run_episodes
from robopolicy.core import checkpoint, suites
from robopolicy.core.errors import ConfigError
from robopolicy.core.noise import EpisodeNoise
from robopolicy.core.protocols import Env
from robopolicy.core.provenance import provenance
from robopolicy.core.spec import Spec
from robopolicy.core.types import Step
from robopolicy.evaluate.blocks import Block, Job, Keep
from robopolicy.evaluate.results import EpisodeRecord, Results, summarise
from robopolicy.evaluate.seeds import blocks_of, seeds_of, stages_of
from robopolicy.evaluate.stats import SequentialMcNemar

PolicySource = str | Path | ChunkPolicy
TaskSource = str | Callable[[], Env]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the episodes are run; fixed before the first of them.

    Args:
        task: `suite/task`, or a picklable function that makes an environment.
        env_options: of the suite. A policy with cameras gets `observe=all` where nothing else is said.
        execute: actions of each chunk to execute; None for all.
        latency_ticks: between an observation and the chunk that answers it.
        max_steps: cut episodes off earlier than the task does.
        block_rows: episodes in lock-step.
    """

    task: TaskSource
    env_options: Mapping[str, Any] = field(default_factory=dict)
    execute: int | None = None
    latency_ticks: int = 0
    max_steps: int | None = None
    block_rows: int = 10

    def make_env(self, spec: Spec) -> Env:
        """An environment that shows what a policy of this spec looks at."""
        if not isinstance(self.task, str):
            return self.task()
        seen = {"observe": "all" if spec.images else "state"}
        return suites.make_env(self.task, **{**seen, **self.env_options})

    def to_plain(self) -> dict[str, Any]:
        """JSON values."""
        name = self.task if isinstance(self.task, str) else self.task.__qualname__
        return {**asdict(self), "task": name, "env_options": dict(self.env_options)}


def evaluate(
    policies: Mapping[str, PolicySource | Sequence[PolicySource]],
    task: TaskSource,
    *,
    episodes: int = 100,
    split: str = "dev",
    workers: int = 1,
    out: Path | str | None = None,
    env_options: Mapping[str, Any] | None = None,
    execute: int | None = None,
    latency_ticks: int = 0,
    max_steps: int | None = None,
    block_rows: int = 10,
    looks: Sequence[int] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Evaluate policies on the same episodes, and compare each with each.

    Args:
        policies: name to a checkpoint, a policy, or a sequence of them that differ by training seed only.
        task: see `Protocol`, as are the options not listed here.
        episodes: initial states for each policy.
        split: `dev` to choose settings, `test` to state results.
        workers: processes on the CPU, each with its own copy of the policies.
        out: folder for `results.json` and what is needed to resume and to replay; None keeps nothing.
        looks: numbers of episodes at which a comparison of exactly two checkpoints may stop early (see
            `SequentialMcNemar`); the last must be `episodes`.
        progress: called with the episodes done and the episodes in all.

    Raises:
        UserError: a policy, a task or an option does not exist, or they do not fit each other.
    """
    protocol = Protocol(
        task=task,
        env_options=env_options or {},
        execute=execute,
        latency_ticks=latency_ticks,
        max_steps=max_steps,
        block_rows=block_rows,
    )
    replicas = {name: _listed(source) for name, source in policies.items()}
    folder = None if out is None else Path(out)
    test = _stopping(looks, episodes, replicas)
    blocks = blocks_of(seeds_of(split, episodes), block_rows)
    total = episodes * sum(len(sources) for sources in replicas.values())
    found: dict[str, list[list[EpisodeRecord]]] = {
        name: [[] for _ in sources] for name, sources in replicas.items()
    }
    decided, done = None, 0
    with _one_thread():
        prints = {name: [_fingerprint(s) for s in sources] for name, sources in replicas.items()}
        keep = Keep(folder, what=protocol.to_plain(), prints=prints)
        for stage in stages_of(blocks, test.looks if test else ()):
            jobs = [
                Job(name, replica, seeds)
                for seeds in stage  # policies take turns, so that no drift of the machine favours one
                for name, sources in replicas.items()
                for replica in range(len(sources))
            ]
            with closing(keep.run(jobs, _Worker(protocol, replicas), workers)) as finished:
                for job, block in finished:
                    found[job.name][job.replica].extend(block.records)
                    done += len(block.records)
                    if progress is not None:
                        progress(done, total)
            if test is not None:
                decided = test.stops(*([r.success for r in runs[0]] for runs in found.values()))
                if decided is not None:
                    break
        latency = {
            name: measure_latency(sources[0], protocol, seeds_of(split, 1)[0])
            for name, sources in replicas.items()
        }
    results = summarise(
        found,
        latency_ms=latency,
        protocol={
            **protocol.to_plain(),
            "split": split,
            "episodes": episodes,
            "looks": list(looks),
            "policies": {name: [str(_label(s)) for s in sources] for name, sources in replicas.items()},
        },
        stopped=None if decided is None else asdict(decided),
        provenance=provenance(),
    )
    if folder is not None:
        results.save(folder / "results.json")
    return results


def measure_latency(
    source: PolicySource, protocol: Protocol, seed: int, *, calls: int = 100, seconds: float = 3.0
) -> dict[str, float]:
    """Milliseconds of one `sample` of one row, one thread: p50, p95, p99.

    Args:
        calls: to make at most, after five that do not count.
        seconds: to stop after, once 20 calls are made.
    """
    policy = load(source)
    env = protocol.make_env(policy.spec)
    try:
        picked = Executor(policy, env_spec=env.spec).pick(env.reset(seed).obs)
    finally:
        env.close()
    obs = batch_of([[picked] * policy.obs_steps], "cpu")
    taken: list[float] = []
    end = time.perf_counter() + seconds
    for call in range(calls + 5):
        begun = time.perf_counter()
        policy.sample(obs, 1, noise=EpisodeNoise(seeds=[seed], ticks=[call]))
        taken.append(1e3 * (time.perf_counter() - begun))
        if call >= 24 and time.perf_counter() > end:
            break
    return {f"p{q}": float(np.percentile(taken[5:], q)) for q in (50, 95, 99)}


def load(source: PolicySource) -> ChunkPolicy:
    """A policy from a checkpoint, or the policy itself.

    Raises:
        ConfigError: the checkpoint holds something that proposes no actions.
    """
    if not isinstance(source, str | Path):
        return source
    learner = checkpoint.load(source)
    if not isinstance(learner, ChunkPolicy):
        raise ConfigError(f"{source} holds a {type(learner).__name__}, which proposes no action chunks")
    return learner


@dataclass(frozen=True)
class _Worker:
    """Makes the function that runs a job; loads and builds in the process that will run it."""

    protocol: Protocol
    replicas: Mapping[str, Sequence[PolicySource]]

    @contextmanager
    def __call__(self) -> Iterator[Callable[[Job], Block]]:
        torch.set_num_threads(1)
        policies: dict[tuple[str, int], ChunkPolicy] = {}
        envs: dict[bool, list[Env]] = {}  # by whether cameras are rendered

        def run(job: Job) -> Block:
            key = (job.name, job.replica)
            if key not in policies:
                policies[key] = load(self.replicas[job.name][job.replica])
            rows = envs.setdefault(bool(policies[key].spec.images), [])
            while len(rows) < len(job.seeds):
                rows.append(self.protocol.make_env(policies[key].spec))
            return run_block(policies[key], rows[: len(job.seeds)], job.seeds, self.protocol)

        try:
            yield run
        finally:
            for env in (env for group in envs.values() for env in group):
                env.close()


def run_block(policy: ChunkPolicy, envs: Sequence[Env], seeds: Sequence[int], protocol: Protocol) -> Block:
    """One block of episodes in lock-step."""
    agent = Executor(
        policy,
        env_spec=envs[0].spec,
        execute=protocol.execute,
        latency_ticks=protocol.latency_ticks,
        batch=protocol.block_rows,
    )
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


def _listed(source: PolicySource | Sequence[PolicySource]) -> list[PolicySource]:
    return list(source) if isinstance(source, list | tuple) else [source]  # type: ignore[list-item]


def _label(source: PolicySource) -> str:
    return str(source) if isinstance(source, str | Path) else type(source).__name__


def _fingerprint(source: PolicySource) -> str | None:
    """Hash of a checkpoint; None for a policy that is none."""
    if not isinstance(source, str | Path):
        return None
    manifest = checkpoint.open_checkpoint(source).path / checkpoint.MANIFEST
    return hashlib.sha256(manifest.read_bytes()).hexdigest()


def _stopping(
    looks: Sequence[int], episodes: int, replicas: Mapping[str, Sequence[PolicySource]]
) -> SequentialMcNemar | None:
    if not looks:
        return None
    if len(replicas) != 2 or any(len(sources) != 1 for sources in replicas.values()):
        raise ConfigError("looks are for a comparison of exactly two checkpoints; give two, or no looks")
    if looks[-1] != episodes:
        raise ConfigError(
            f"the last look is at {looks[-1]} of {episodes} episodes; it must be at the last one"
        )
    return SequentialMcNemar(looks=tuple(looks))


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread, as in the workers: sums over several come out differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
