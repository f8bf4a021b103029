"""Statistics of columns, in the form that LeRobotDataset v3 keeps them in.

Every number is computed from all values. Quantiles cannot be merged from parts, so nothing here tries to;
8-bit images are described through their 256-bin histogram, which is exact and adds up over episodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

FIRST = ("min", "max", "mean", "std", "count")
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_LARGE_IMAGE = 300  # pixels on the shorter side, above which pixels are skipped
_ENOUGH_PIXELS = 150
_LEVEL_TOLERANCE = 0.03  # of a camera's mean, for what the video codec changes


def describe(values: np.ndarray) -> dict[str, np.ndarray]:
    """min, max, mean, std, count and quantiles over the first axis of `values [F ...]`, each `[...]`.

    They are float64, but for min and max of integers. Scalars per row (`[F]`) give arrays of shape `[1]`, as
    the format has it.
    """
    rows = np.asarray(values)
    rows = rows[:, None] if rows.ndim == 1 else rows
    flat = rows.astype(np.float64)
    ends = rows.astype(np.int64) if rows.dtype.kind in "iu" else flat
    quantiles = np.quantile(flat, list(QUANTILES.values()), axis=0)
    return {
        "min": ends.min(axis=0),
        "max": ends.max(axis=0),
        "mean": flat.mean(axis=0),
        "std": flat.std(axis=0),
        "count": np.array([len(flat)], dtype=np.int64),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


def image_histogram(frames: np.ndarray) -> np.ndarray:
    """How often each level occurs: `frames [L C h w]` uint8 to `[C 256]` int64.

    Of large images every few pixels are counted, as a camera's statistics do not need them all.
    """
    step = max(1, min(frames.shape[2:]) // _ENOUGH_PIXELS) if min(frames.shape[2:]) > _LARGE_IMAGE else 1
    thinned = frames[:, :, ::step, ::step]
    return np.stack(
        [np.bincount(thinned[:, c].ravel(), minlength=256) for c in range(frames.shape[1])]
    ).astype(np.int64)


def read_histogram(raw: object) -> np.ndarray:
    """A histogram `[C 256]` int64 that was kept as lists. Raises ValueError where it is none."""
    histogram = np.array(raw)
    if histogram.ndim != 2 or histogram.shape[1] != 256 or histogram.dtype.kind not in "iu":
        raise ValueError(f"a histogram is {histogram.dtype} {histogram.shape}, int [C 256] is meant")
    if (histogram < 0).any() or not (histogram.sum(axis=1) > 0).all():
        raise ValueError("a histogram has negative counts or none")
    return histogram


def describe_histogram(histogram: np.ndarray, *, num_frames: int) -> dict[str, np.ndarray]:
    """The statistics of a camera from its histogram `[C 256]`: levels on [0, 1], shape `[C 1 1]`."""
    levels = np.arange(256) / 255.0
    total = histogram.sum(axis=1, keepdims=True)
    mean = (histogram * levels).sum(axis=1, keepdims=True) / total
    variance = (histogram * (levels - mean) ** 2).sum(axis=1, keepdims=True) / total
    cumulative = np.cumsum(histogram, axis=1)

    def quantile(q: float) -> np.ndarray:
        return levels[np.argmax(cumulative >= q * total, axis=1)][:, None]

    present = histogram > 0
    values = {
        "min": levels[np.argmax(present, axis=1)][:, None],
        "max": levels[255 - np.argmax(present[:, ::-1], axis=1)][:, None],
        "mean": mean,
        "std": np.sqrt(variance),
        **{name: quantile(q) for name, q in QUANTILES.items()},
    }
    described = {name: value[:, :, None] for name, value in values.items()}
    return described | {"count": np.array([num_frames], dtype=np.int64)}


def wrong_form(said: object, names: Iterable[str], shape: tuple[int, ...]) -> str | None:
    """What is missing in the statistics of one feature, or is no array of `shape` (`count`: of one)."""
    if not isinstance(said, Mapping):
        return f"the statistics are {str(said)[:40]}"
    for name in names:
        if name not in said:
            return f"{name} is missing"
        try:
            value = np.asarray(said[name], dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            return f"{name} is {str(said[name])[:40]}, numbers are meant"
        if value.shape != (want := (1,) if name == "count" else shape):
            return f"{name} has shape {value.shape}, {want} is meant"
    return None


def wrong_values(said: Mapping[str, Any], names: Iterable[str], values: np.ndarray) -> str | None:
    """Which statistic is not that of `values [F ...]`."""
    true = describe(values)
    close = np.abs(true["max"] - true["min"]) * 1e-3 + np.abs(true["mean"]) * 1e-4 + 1e-6
    for name in names:
        have, want = (np.asarray(of[name], dtype=np.float64) for of in (said, true))
        if not (np.abs(have - want) <= close).all():
            return f"{name} is {_short(have)}, the data give {_short(want)}"
    return None


def wrong_levels(said: Mapping[str, Any], frames: np.ndarray) -> str | None:
    """Which statistic of a camera cannot be, judged by some of its frames, `[n C h w]` uint8.

    The mean may be off by what the frames' own means differ by, as they are not all frames.
    """
    means = frames.mean(axis=(2, 3)) / 255.0
    close = _LEVEL_TOLERANCE + 4 * means.std(axis=0) / np.sqrt(len(means))
    low, mean, high = (np.asarray(said[name], dtype=np.float64).ravel() for name in ("min", "mean", "max"))
    if not (np.abs(mean - means.mean(axis=0)) <= close).all():
        return f"mean is {_short(mean)}, {len(means)} frames give {_short(means.mean(axis=0))}"
    if not ((low >= 0) & (low <= mean + 1e-6) & (mean <= high + 1e-6) & (high <= 1)).all():
        return f"min {_short(low)}, mean {_short(mean)}, max {_short(high)} are not levels from 0 to 1"
    return None


def _short(values: np.ndarray) -> str:
    listed = ", ".join(f"{value:.4g}" for value in values.ravel()[:4])
    return f"[{listed}{', ...' if values.size > 4 else ''}]"
