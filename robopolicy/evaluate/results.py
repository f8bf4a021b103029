"""What an evaluation found, and its JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from robopolicy.core.errors import ConfigError
from robopolicy.evaluate.blocks import EpisodeRecord, write_whole
from robopolicy.evaluate.compare import Comparison, compare_all
from robopolicy.evaluate.stats import clopper_pearson, paired_bootstrap

# What readers of `results.json` count on: keys that must be there (`...`: at least one, of any name), the
# kind of each item of a list, and of the values themselves.
_SHAPE = {
    "policies": {
        ...: {
            "success": float,
            "interval": (float, float),
            "episodes": int,
            "latency_ms": {"p50": float, "p95": float, "p99": float},
        }
    },
    "runs": {...: [{"success": float, "episodes": [get_type_hints(EpisodeRecord)]}]},
    "comparisons": list,
    "protocol": {
        "task": str,
        "env_options": dict,
        "block_rows": int,
        "split": str,
        "episodes": int,
        "states_sha256": str,
        "policies": {...: [str]},
    },
    "provenance": dict,
}
_COMPARED = {
    "a": str,
    "b": str,
    "difference": float,
    "interval": (float, float),
    "only_a": int,
    "only_b": int,
    "p_holm": float | None,
    "per_seed": [float],
}


@dataclass(frozen=True, kw_only=True)
class PolicyResult:
    """One policy, over all its training seeds.

    Args:
        success: share of episodes.
        interval: 95 %. One checkpoint: Clopper-Pearson. Several: the wider, at each end, of that and the
            bootstrap over training seeds and states.
        episodes: how many, over all training seeds.
        seeds: of the initial states.
        latency_ms: p50, p95 and p99 of a call of `sample` for one row.
    """

    success: float
    interval: tuple[float, float]
    episodes: int
    seeds: tuple[int, ...]
    latency_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Results:
    """An evaluation.

    Args:
        policies: by name.
        comparisons: of each with each, on the same states; none where they were not asked for.
        records: name to the episodes of each training seed.
        protocol: what was fixed before the first episode.
        stopped: the look that ended a sequential comparison early. Its decision is valid; intervals and
            rates are then those of a run that stopped because it looked good, and lean outwards.
        provenance: versions, command, commit.
    """

    policies: Mapping[str, PolicyResult]
    comparisons: Sequence[Comparison]
    records: Mapping[str, Sequence[Sequence[EpisodeRecord]]]
    protocol: Mapping[str, Any]
    stopped: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "policies": {name: asdict(result) for name, result in self.policies.items()},
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "protocol": dict(self.protocol),
            "stopped": self.stopped,
            "runs": {
                name: [
                    {
                        "success": float(np.mean([record.success for record in run])),
                        "interval": clopper_pearson(sum(record.success for record in run), len(run)),
                        "episodes": [asdict(record) for record in run],
                    }
                    for run in runs
                ]
                for name, runs in self.records.items()
            },
            "provenance": dict(self.provenance),
        }

    def save(self, path: Path) -> None:
        """Write the JSON, whole or not at all."""
        write_whole(path, json.dumps(self.to_plain(), indent=1))


def read_results(folder: Path) -> dict[str, Any]:
    """`results.json` of an evaluation.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    path = folder / "results.json"
    try:
        raw = json.loads(path.read_text())
        _require(raw, _SHAPE, "the whole")
        for number, comparison in enumerate(raw["comparisons"]):
            _require(comparison, _COMPARED, f"comparisons[{number}]")
        if raw["protocol"]["block_rows"] < 1:
            raise ValueError("protocol.block_rows is not at least 1")
        if not raw["policies"].keys() == raw["runs"].keys() == raw["protocol"]["policies"].keys():
            raise ValueError("policies, runs and protocol.policies do not name the same")
        return raw
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is missing or damaged ({error}); evaluate again") from error


def _require(value: Any, shape: Any, at: str) -> None:
    """Refuse what has not the shape (see `_SHAPE`).

    Raises:
        ValueError: names what is wrong, and where.
    """
    kind = {dict: dict, list: list, tuple: list}.get(type(shape), int | float if shape is float else shape)
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        raise ValueError(f"{at} is {value!r:.60}")
    if isinstance(shape, dict):
        wanted = {key: shape[...] for key in value} if ... in shape else shape
        if lacking := sorted(wanted.keys() - value.keys()):
            raise ValueError(f"{at} lacks {lacking}")
        if not wanted:
            raise ValueError(f"{at} is empty")
        for key, inner in wanted.items():
            _require(value[key], inner, f"{at}.{key}".removeprefix("the whole."))
    elif isinstance(shape, list | tuple):
        if not value or (isinstance(shape, tuple) and len(value) != len(shape)):
            raise ValueError(f"{at} has {len(value)} items")
        for number, item in enumerate(value):
            _require(item, shape[0], f"{at}[{number}]")


def summarise(
    records: Mapping[str, Sequence[Sequence[EpisodeRecord]]],
    *,
    compare: bool,
    latency_ms: Mapping[str, Mapping[str, float]],
    protocol: Mapping[str, Any],
    stopped: Mapping[str, Any] | None,
    provenance: Mapping[str, Any],
) -> Results:
    """Rates, intervals and comparisons of the episodes of each policy and training seed."""
    policies = {}
    success = {
        name: np.array([[record.success for record in run] for run in runs]) for name, runs in records.items()
    }
    for name, runs in records.items():
        policies[name] = PolicyResult(
            success=float(success[name].mean()),
            interval=_interval(success[name]),
            episodes=success[name].size,
            seeds=tuple(record.seed for record in runs[0]),
            latency_ms=latency_ms[name],
        )
    seeds = json.dumps(next(iter(policies.values())).seeds) if policies else ""
    return Results(
        policies=policies,
        comparisons=compare_all(success) if compare else [],
        records=records,
        protocol={**protocol, "states_sha256": hashlib.sha256(seeds.encode()).hexdigest()},
        stopped=stopped,
        provenance=provenance,
    )


def pool(each: Mapping[str, Results], *, task: str) -> Results:
    """What policies did on several tasks, as one: the mean over tasks, each of as many episodes.

    Its interval treats the tasks as fixed. The resampled one draws from the episodes of all of them together,
    which makes it a little wide.

    Args:
        each: task to its results, of the same policies.
        task: the name of the group.
    """
    first = next(iter(each.values()))
    joined = {
        name: [
            [record for results in each.values() for record in results.records[name][number]]
            for number in range(len(runs))
        ]
        for name, runs in first.records.items()
    }
    return summarise(
        joined,
        compare=bool(first.comparisons),
        latency_ms={name: result.latency_ms for name, result in first.policies.items()},
        protocol={**first.protocol, "task": task, "tasks": list(each)},
        stopped=None,
        provenance=first.provenance,
    )


def _interval(success: np.ndarray) -> tuple[float, float]:
    exact = clopper_pearson(int(success.sum()), success.size)
    if len(success) == 1:
        return exact
    resampled = paired_bootstrap(success, np.zeros_like(success))
    return min(exact[0], resampled.low), max(exact[1], resampled.high)
