"""Rolls policies out from fixed initial states and says how often they succeed, with intervals.

The unit of work is a block of episodes in lock-step: always the same seeds in the same rows, whichever worker
runs it, so that one worker and many give the same bits. Every policy meets the same states. A finished block
is kept on disk under the hash of what was evaluated; a run that was interrupted goes on behind it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robopolicy.control.executor import Executor, batch_of
from robopolicy.core import checkpoint
from robopolicy.core.errors import ConfigError
from robopolicy.core.machine import Lock
from robopolicy.core.noise import EpisodeNoise
from robopolicy.core.provenance import provenance
from robopolicy.evaluate.blocks import EpisodeRecord, Job, Keep
from robopolicy.evaluate.results import Results, summarise
from robopolicy.evaluate.seeds import blocks_of, seeds_of, stages_of
from robopolicy.evaluate.stats import SequentialMcNemar
from robopolicy.evaluate.worker import PolicySource, Protocol, TaskSource, Worker, load


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
    device: str = "cpu",
    looks: Sequence[int] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Evaluate policies on the same episodes, and compare each with each.

    Args:
        policies: name to a checkpoint, a policy, or a sequence of them that differ by training seed only.
        task: see `Protocol`, as are the options not listed here.
        episodes: initial states for each policy.
        split: `dev` to choose settings, `test` to state results.
        workers: processes. On the CPU each has its own copy of the policies and runs its own blocks; with
            another device the policies stay in this process, and the workers step the block's environments.
        out: folder for `results.json` and what is needed to resume and to replay; None keeps nothing.
        looks: numbers of episodes at which a comparison of exactly two checkpoints may stop early (see
            `SequentialMcNemar`); the last must be `episodes`.
        progress: called with the episodes done and the episodes in all.

    Raises:
        UserError: a policy, a task or an option does not exist, they do not fit each other, or another
            evaluation writes to `out`.
    """
    protocol = Protocol(
        task=task,
        env_options=env_options or {},
        execute=execute,
        latency_ticks=latency_ticks,
        max_steps=max_steps,
        block_rows=block_rows,
        device=device,
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
    with _one_thread(), _own(folder):
        prints = {name: [_fingerprint(s) for s in sources] for name, sources in replicas.items()}
        keep = Keep(folder, what=protocol.to_plain(), prints=prints)
        here = device != "cpu"
        worker = Worker(protocol, replicas, env_workers=workers if here else 0)
        processes = 1 if here else workers
        for stage in stages_of(blocks, test.looks if test else ()):
            jobs = [
                Job(name, replica, seeds)
                for seeds in stage  # policies take turns, so that no drift of the machine favours one
                for name, sources in replicas.items()
                for replica in range(len(sources))
            ]
            with closing(keep.run(jobs, worker, processes)) as finished:
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
    policy = load(source, protocol.device)
    env = protocol.make_env(policy.spec)
    try:
        picked = Executor(policy, env_spec=env.spec).pick(env.reset(seed).obs)
    finally:
        env.close()
    obs = batch_of([[picked] * policy.obs_steps], protocol.device)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    for call in range(calls + 5):
        begun = time.perf_counter()
        noise = EpisodeNoise(seeds=[seed], ticks=[call], device=protocol.device)
        torch.as_tensor(policy.sample(obs, 1, noise=noise)).cpu()  # which waits for the device
        taken.append(1e3 * (time.perf_counter() - begun))
        if call >= 24 and time.perf_counter() > end:
            break
    return {f"p{q}": float(np.percentile(taken[5:], q)) for q in (50, 95, 99)}


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


def _own(folder: Path | None) -> AbstractContextManager[object]:
    """Keeps a second evaluation out of the folder."""
    return nullcontext() if folder is None else Lock(folder, doing="evaluating")


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread, as in the workers: sums over several come out differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
