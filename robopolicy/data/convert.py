"""Turns other people's files into LeRobotDataset v3.0.

OGBench (Park et al. 2025, arXiv 2410.20092) keeps one `.npz` of flat arrays: `observations [F S]`, `actions
[F A]`, `terminals [F]` (1 on the last row of each episode), and in its single-task sets `rewards` and `masks`
(0 where the task is solved and nothing is bootstrapped). Its episodes go on after a success, so masks
become the column `next.mask`, which the sampler heeds (see `data.sampler`).
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from robopolicy.core.errors import DatasetError
from robopolicy.core.ranges import in_range
from robopolicy.core.spec import Spec, Vector
from robopolicy.core.types import Episode
from robopolicy.data.lerobot import Dataset, open_dataset
from robopolicy.data.merge import new_dataset
from robopolicy.data.store import MASK
from robopolicy.data.writer import DatasetWriter


def convert(
    source: str | Path, out: str | Path, *, control_hz: float = 20.0, spec: Spec | None = None, text: str = ""
) -> Dataset:
    """Convert an OGBench `.npz` into a new dataset at `out`.

    Args:
        source: the file; arrays of Python objects are refused.
        out: a new folder.
        control_hz: steps a second; the file does not say (20 in OGBench's manipulation tasks).
        spec: names, bounds and units, where they are known; numbered names without bounds otherwise.
        text: the instruction of all episodes.

    Raises:
        ConfigError: `control_hz` is not above 0.
        DatasetError: the file is not of this layout, or `out` already holds something.
    """
    in_range("convert", above=0, control_hz=control_hz)
    source = Path(source)
    if source.suffix != ".npz":
        raise DatasetError(f"{source} is not an .npz of OGBench's layout; that is what can be converted")
    arrays = _read(source)
    state, action, ends = arrays["observations"], arrays["actions"], arrays["terminals"].astype(bool)
    if len(ends) and not ends[-1]:
        ends = np.append(ends[:-1], True)
    reward = arrays.get("rewards", np.zeros(len(state)))
    masks = arrays.get("masks", np.ones(len(state)))
    if not np.isin(masks, (0, 1)).all():
        raise DatasetError(f"{source}: masks holds {np.unique(masks)[:5]}; 0 and 1 are meant")
    if spec is None:
        spec = Spec(
            state=_numbered("state", state.shape[1]),
            action=_numbered("action", action.shape[1]),
            control_hz=control_hz,
            text=bool(text),
        )
    start = 0
    with new_dataset(out) as aside, DatasetWriter(aside, spec=spec) as writer:
        for last in np.flatnonzero(ends):
            rows = slice(start, int(last) + 1)
            columns = {MASK: masks[rows] != 0} if "masks" in arrays else {}
            writer.append(
                Episode(
                    state=state[rows].astype(np.float32),
                    action=action[rows].astype(np.float32),
                    reward=reward[rows].astype(np.float32),
                    terminated=bool(masks[last] == 0),
                    success=bool((masks[rows] == 0).any()),
                    text=text,
                    columns=columns,
                )
            )
            start = int(last) + 1
    return open_dataset(out)


def _read(source: Path) -> dict[str, np.ndarray]:
    wanted = ("observations", "actions", "terminals")
    try:
        with np.load(source, allow_pickle=False) as file:
            names = [name for name in (*wanted, "rewards", "masks") if name in file.files]
            arrays = {name: file[name] for name in names}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(
            f"{source} cannot be read as plain arrays ({error}); nothing is unpickled"
        ) from error
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise DatasetError(f"{source} lacks {missing}; an .npz of OGBench's layout is meant")
    axes = {name: 2 if name in ("observations", "actions") else 1 for name in arrays}
    wrong = {n: a for n, a in arrays.items() if a.ndim != axes[n] or a.dtype.kind not in "biuf"}
    if wrong or len({len(array) for array in arrays.values()}) > 1:
        shapes = {name: f"{array.dtype} {array.shape}" for name, array in arrays.items()}
        raise DatasetError(f"{source}: the arrays do not fit together: {shapes}; numbers [F S], [F A], [F]")
    return arrays


def _numbered(name: str, size: int) -> Vector:
    return Vector.of({f"{name}.{i}": (-np.inf, np.inf, "unknown") for i in range(size)})
