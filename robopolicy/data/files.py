"""The single files of a LeRobotDataset v3.0, each checked as it is read. Errors name the file and the fix."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robopolicy.core.errors import DatasetError, UserError
from robopolicy.core.spec import Image
from robopolicy.data import format as fmt

CHECK = "`robopolicy data check DIR` shows what is wrong, with `--quarantine` it sets the episodes aside"
MOST_RUNS = 12  # of episode indices, in one message


def read_info(root: Path) -> dict[str, Any]:
    """`meta/info.json`, with what this reader relies on checked.

    Raises:
        DatasetError: names the key, its value and what is meant.
    """
    path = root / fmt.INFO
    if not path.exists():
        raise DatasetError(
            f"{path} is missing: {root} is not a finished dataset, or nothing was recorded in it"
        )
    info = fmt.read_json(path)

    def refuse(key: str, want: str) -> None:
        raise DatasetError(f"{path}: '{key}' is {info.get(key)!r}; {want}")

    if not isinstance(info, dict):
        raise DatasetError(f"{path} does not hold an object; restore the file")
    if not str(info.get("codebase_version")).startswith("v3."):
        refuse("codebase_version", "v3.0 is meant; convert older datasets with lerobot's own converter")
    fps = info.get("fps")
    if not isinstance(fps, int | float) or not 0 < fps <= 10_000:
        refuse("fps", "a positive number is meant")
    for key in ("total_episodes", "total_frames"):
        if not isinstance(info.get(key), int) or info[key] < 0:
            refuse(key, "a count is meant")
    features = info.get("features")
    if not isinstance(features, dict) or not all(_is_feature(feature) for feature in features.values()):
        refuse("features", "an object of {dtype, shape, names} is meant")
    assert isinstance(features, dict)
    missing = [key for key in (*fmt.INDEX_FEATURES, fmt.ACTION) if key not in features]
    if missing:
        refuse("features", f"{missing} are missing")
    fmt.resolve(root, info.get("data_path"), chunk_index=0, file_index=0)
    if any(feature["dtype"] == "video" for feature in features.values()):
        fmt.resolve(root, info.get("video_path"), video_key="v", chunk_index=0, file_index=0)
    return info


def _is_feature(feature: object) -> bool:
    return (
        isinstance(feature, dict)
        and isinstance(feature.get("dtype"), str)
        and isinstance(shape := feature.get("shape"), list)
        and bool(shape)
        and all(isinstance(size, int) and 0 < size <= 1 << 20 for size in shape)
    )


def read_quarantine(root: Path) -> dict[int, list[str]]:
    """Quarantined episodes and the reasons."""
    path = root / fmt.QUARANTINE
    if not path.exists():
        return {}
    try:
        raw = fmt.read_json(path)["episodes"]
        return {int(index): [str(reason) for reason in reasons] for index, reasons in raw.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{path} is damaged ({error!r}); delete it and check the dataset again") from error


def count_problems(info: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How `info.json` and `meta/episodes` contradict each other."""
    problems = []
    indices = [row["episode_index"] for row in rows]
    if indices != list(range(info["total_episodes"])):
        problems.append(f"total_episodes is {info['total_episodes']}, but meta/episodes has {span(indices)}")
    frames = sum(row["length"] for row in rows)
    if frames != info["total_frames"]:
        problems.append(
            f"total_frames is {info['total_frames']}, but the episodes of meta/episodes sum to {frames}"
        )
    return problems


def require_counts(root: Path, info: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a dataset whose files contradict each other."""
    if problems := count_problems(info, rows):
        raise DatasetError(f"{root / fmt.INFO}: {'; '.join(problems)}; {CHECK}")


def read_data(
    path: Path, features: Mapping[str, Mapping[str, Any]], keys: Sequence[str], *, max_rows: int
) -> dict[str, np.ndarray]:
    """Columns of one data file as numpy arrays; of still images, the encoded bytes as objects.

    Raises:
        DatasetError: the file is missing, cut short, larger than the dataset says, or lacks a column.
    """
    fix = f"restore the file, or {CHECK}"
    try:
        file = pq.ParquetFile(path)
        if file.metadata.num_rows > max_rows:
            raise DatasetError(f"{path} has {file.metadata.num_rows} rows, the dataset has {max_rows}; {fix}")
        missing = [key for key in keys if key not in file.schema_arrow.names]
        if missing:
            raise DatasetError(f"{path} lacks the columns {missing}; {fix}")
    except (OSError, pa.ArrowException, ValueError) as error:
        if isinstance(error, UserError):
            raise
        what = "cannot be read, it may be cut short" if path.exists() else "is missing"
        raise DatasetError(f"{path} {what} ({error}); {fix}") from error
    table = fmt.read_table(path, fix=fix, columns=list(keys))
    columns = {}
    for key in keys:
        if features[key]["dtype"] == "image":
            columns[key] = np.array(
                [cell and cell.get("bytes") for cell in table[key].to_pylist()], dtype=object
            )
        else:
            columns[key] = fmt.numpy_column(table[key], features[key], where=f"{path}: {key}")
    return columns


def rows_by_episode(table: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
    """The rows of each episode in a file, in the order of their frames."""
    order = np.lexsort((table["frame_index"], table["episode_index"]))
    indices, starts = np.unique(table["episode_index"][order], return_index=True)
    return dict(zip(indices.tolist(), np.split(order, starts[1:]), strict=True))


def locate(
    table: Mapping[str, np.ndarray], rows: Mapping[int, np.ndarray], index: int, length: int, path: Path
) -> np.ndarray:
    """The rows of episode `index`, in the order of its frames; `rows` is what `rows_by_episode` gives.

    Raises:
        DatasetError: the episode has too few or too many rows, or its frames are not 0, 1, 2 ...
    """
    at = rows.get(index, np.empty(0, np.int64))
    if len(at) != length:
        raise DatasetError(f"{path}: episode {index} has {len(at)} rows, its length is {length}; {CHECK}")
    if not np.array_equal(table["frame_index"][at], np.arange(length)):
        raise DatasetError(f"{path}: the frames of episode {index} are not 0 to {length - 1}; {CHECK}")
    return at


def decode_still(data: object, image: Image, *, where: str) -> np.ndarray:
    """One encoded picture as `[C h w]` uint8."""
    from PIL import Image as Still
    from PIL import UnidentifiedImageError

    try:
        if not isinstance(data, bytes):
            raise ValueError("the picture is missing")
        with Still.open(io.BytesIO(data)) as still:
            if still.size != (image.width, image.height):
                raise ValueError(f"the picture is {still.size[1]} x {still.size[0]}")
            return np.asarray(still.convert("RGB")).transpose(2, 0, 1)
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise DatasetError(f"{where}: {error}; {CHECK}") from error


def span(indices: Iterable[int]) -> str:
    """Episode indices in a few words: `episodes 0 to 4, 7`."""
    listed = list(indices)
    runs: list[tuple[int, int]] = []
    for index in listed:
        if runs and index == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], index
        else:
            runs.append((index, index))
    said = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in runs[:MOST_RUNS])
    more = f" ... {len(listed)} in all" if len(runs) > MOST_RUNS else ""
    return f"episode{'s' * (len(listed) > 1)} {said}{more}" if listed else "no episodes"
