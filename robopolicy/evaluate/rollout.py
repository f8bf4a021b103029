"""Rolls policies out from fixed initial states and says how often they succeed, with intervals.

The unit of work is a block of episodes in lock-step: always the same seeds in the same rows, whichever worker
runs it, so that one worker and many give the same bits. Every policy meets the same states. A finished block
is kept on disk under the hash of what was evaluated; a run that was interrupted goes on behind it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from robopolicy.control.executor import batch_of
from robopolicy.core import checkpoint
from robopolicy.core.errors import ConfigError
from robopolicy.core.machine import Lock, num_workers
from robopolicy.core.noise import EpisodeNoise
from robopolicy.core.provenance import provenance
from robopolicy.evaluate.blocks import Block, EpisodeRecord, Job, Keep
from robopolicy.evaluate.compare import check_pairs
from robopolicy.evaluate.results import Results, summarise
from robopolicy.evaluate.seeds import blocks_of, jobs_of, seeds_of, stages_of
from robopolicy.evaluate.stats import Look, SequentialMcNemar
from robopolicy.evaluate.worker import PolicySource, Protocol, Worker, label, load


def evaluate(
    policies: Mapping[str, PolicySource | Sequence[PolicySource]],
    protocol: Protocol,
    *,
    episodes: int = 100,
    split: str = "dev",
    workers: int | None = 1,
    out: Path | str | None = None,
    compare: bool = True,
    looks: tuple[int, ...] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Evaluate policies on the same episodes, and compare each with each.

    Args:
        policies: name to a checkpoint, a policy, or a sequence of them that differ by training seed only. Of
            a run that is still going on, what is its newest checkpoint now is evaluated throughout.
        protocol: the task, and how its episodes are run.
        episodes: initial states for each policy.
        split: `dev` to choose settings, `test` to state results.
        workers: processes; None means one per core. On the CPU each has its own copy of the policies and runs
            its own blocks; with another device the policies stay in this process, and the workers step the
            block's environments.
        out: folder for `results.json` and what is needed to resume and to replay; None keeps nothing.
        compare: each with each; policies then need as many training seeds as each other.
        looks: numbers of episodes at which a comparison of exactly two checkpoints may stop early (see
            `SequentialMcNemar`); the last must be `episodes`.
        progress: called with the episodes done and the episodes in all; first when nothing is left to refuse.

    Raises:
        UserError: a policy, a task or an option does not exist, they do not fit each other, or another
            evaluation writes to `out`.
    """
    seeds, workers = seeds_of(split, episodes), num_workers(workers)
    replicas = {name: _replicas(name, source) for name, source in policies.items()}
    if compare:
        check_pairs({name: (len(sources), episodes) for name, sources in replicas.items()})
    test = _stopping(looks, episodes, replicas, compare)
    stages = list(stages_of(blocks_of(seeds, protocol.block_rows), test.looks if test else ()))
    prints = {name: [_fingerprint(s) for s in sources] for name, sources in replicas.items()}
    on_cpu = protocol.device == "cpu"
    worker = Worker(protocol, replicas, env_workers=0 if on_cpu else workers)
    folder = None if out is None else Path(out)
    with _one_thread(), _own(folder):
        latency = {
            name: measure_latency(sources[0], protocol, seeds[0]) for name, sources in replicas.items()
        }
        keep = Keep(folder, what=protocol.to_plain(), prints=prints)
        run = partial(keep.run, worker=worker, workers=workers if on_cpu else 1)
        found, decided = _roll_out(run, replicas, stages, test, progress or (lambda done, total: None))
        results = summarise(
            found,
            compare=compare,
            latency_ms=latency,
            protocol={
                **protocol.to_plain(),
                "split": split,
                "episodes": episodes,
                "looks": list(looks),
                "policies": {name: [label(s) for s in sources] for name, sources in replicas.items()},
            },
            stopped=None if decided is None else asdict(decided),
            provenance=provenance(),
        )
        if folder is not None:
            results.save(folder / "results.json")
    return results


def _roll_out(
    run: Callable[[Sequence[Job]], Generator[tuple[Job, Block]]],
    replicas: Mapping[str, Sequence[PolicySource]],
    stages: Sequence[Sequence[tuple[int, ...]]],
    test: SequentialMcNemar | None,
    progress: Callable[[int, int], None],
) -> tuple[dict[str, list[list[EpisodeRecord]]], Look | None]:
    """The records of each policy and training seed, and the look that stopped it where one did."""
    found: dict[str, list[list[EpisodeRecord]]] = {
        name: [[] for _ in sources] for name, sources in replicas.items()
    }
    total = sum(len(block) for stage in stages for block in stage) * sum(map(len, replicas.values()))
    done = 0
    progress(done, total)
    for stage in stages:
        with closing(run(jobs_of(stage, replicas))) as finished:
            for job, block in finished:
                found[job.name][job.replica].extend(block.records)
                done += len(block.records)
                progress(done, total)
        if test is not None:
            decided = test.stops(*([r.success for r in runs[0]] for runs in found.values()))
            if decided is not None:
                return found, decided
    return found, None


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
        picked = protocol.executor(policy, env.spec).pick(env.reset(seed).obs)
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


def _replicas(name: str, source: PolicySource | Sequence[PolicySource]) -> list[PolicySource]:
    """The policies of one name, one for each training seed; a checkpoint as the folder it is in now."""
    listed = source if isinstance(source, Sequence) and not isinstance(source, str) else [source]
    found: list[PolicySource] = []
    first: checkpoint.Checkpoint | None = None
    for each in listed:
        if not isinstance(each, str | Path):
            found.append(each)
            continue
        opened = checkpoint.open_checkpoint(each)
        if opened.path in found:
            raise ConfigError(f"'{name}' holds {each} twice; give each training seed once")
        first = first or opened
        if (opened.config, opened.spec) != (first.config, first.spec):
            raise ConfigError(
                f"'{name}' holds {first.path} and {opened.path}, which differ by more than their training "
                "seed (config.yaml, spec.json); evaluate them as two policies"
            )
        found.append(opened.path)
    return found


def _fingerprint(source: PolicySource) -> str | None:
    """Hash of a checkpoint; None for a policy that is none."""
    if not isinstance(source, str | Path):
        return None
    return hashlib.sha256((Path(source) / checkpoint.MANIFEST).read_bytes()).hexdigest()


def _stopping(
    looks: tuple[int, ...],
    episodes: int,
    replicas: Mapping[str, Sequence[PolicySource]],
    compare: bool,
) -> SequentialMcNemar | None:
    if not looks:
        return None
    if not compare or len(replicas) != 2 or any(len(sources) != 1 for sources in replicas.values()):
        raise ConfigError("looks are for a comparison of exactly two checkpoints; compare two, or no looks")
    if looks[-1] != episodes:
        raise ConfigError(
            f"the last look is at {looks[-1]} of {episodes} episodes; it must be at the last one"
        )
    return SequentialMcNemar(looks=looks)


def _own(folder: Path | None) -> AbstractContextManager[object]:
    """Keeps a second evaluation out of the folder."""
    return nullcontext() if folder is None else Lock(folder, doing="evaluating", kind="evaluation")


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread, as in the workers: sums over several come out differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
