"""Statistics of columns, in the form that LeRobotDataset v3 keeps them in.

Every number is computed from all values. Quantiles cannot be merged from parts, so nothing here tries to;
8-bit images are described through their 256-bin histogram, which is exact and adds up over episodes.
"""

from __future__ import annotations

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_LARGE_IMAGE = 300  # pixels on the shorter side, above which pixels are skipped
_ENOUGH_PIXELS = 150


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
