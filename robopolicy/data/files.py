"""The single files of a LeRobotDataset v3.0, each checked as it is read. Errors name the file and the fix."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robopolicy.core.errors import DatasetError
from robopolicy.core.spec import Image
from robopolicy.data import format as fmt
from robopolicy.data import journal
from robopolicy.data.damage import CHECK, DamagedFileError, count, parsing

_VECTORS, _SCALARS = (
    (fmt.STATE, fmt.ENV_STATE, fmt.ACTION),
    (fmt.REWARD, fmt.DONE, fmt.TRUNCATED, fmt.SUCCESS),
)


def read_info(root: Path) -> dict[str, Any]:
    """`meta/info.json`, with what this reader relies on checked.

    Raises:
        DatasetError: there is no dataset.
        DamagedFileError: names the key, its value and what is meant.
    """
    path = root / fmt.INFO
    if not path.exists():
        raise _no_info(root)
    info = fmt.read_json(path)

    def require(ok: object, key: str, want: str) -> None:
        if not ok:
            raise DamagedFileError(path, f"'{key}' is {str(info.get(key))[:200]}", f"{want} is meant")

    require(
        str(info.get("codebase_version")).startswith("v3."),
        "codebase_version",
        "convert older datasets with lerobot's own converter: v3.0",
    )
    fps = info.get("fps")
    require(
        isinstance(fps, int | float) and not isinstance(fps, bool) and 0 < fps <= 10_000,
        "fps",
        "a positive number",
    )
    with parsing(path):
        for key in ("total_episodes", "total_frames"):
            count(info.get(key), key)
        require(isinstance(info.get("features"), dict), "features", "an object of {dtype, shape, names}")
        features: dict[str, Any] = info["features"]
        for key, feature in features.items():
            if (want := _wrong_feature(key, feature)) is not None:
                raise DamagedFileError(path, f"feature '{key}' is {str(feature)[:200]}", f"{want} is meant")
        missing = [key for key in (*fmt.INDEX_FEATURES, fmt.ACTION) if key not in features]
        if missing:
            raise DamagedFileError(path, f"'features' has {sorted(features)}, {missing} are missing")
        for key in fmt.cameras_of(features).values():
            fmt.image_size(features[key])
    fmt.resolve(root, info.get("data_path"), chunk_index=0, file_index=0)
    if any(feature["dtype"] == "video" for feature in features.values()):
        fmt.resolve(root, info.get("video_path"), video_key="v", chunk_index=0, file_index=0)
    return info


def _no_info(root: Path) -> DatasetError:
    if (root / journal.FOLDER).is_dir():
        problem = f"is missing: {root} is being recorded, or its recording was interrupted"
        return DamagedFileError(
            root / fmt.INFO, problem, "let it finish, or record again with the same output"
        )
    if any((root / part).is_dir() for part in ("data", "meta")):
        return DamagedFileError(root / fmt.INFO, f"is missing: {root} is not a finished dataset")
    return DatasetError(f"there is no dataset at {root}; give a folder that holds one, or record one first")


def _wrong_feature(key: str, feature: object) -> str | None:
    """What a feature should be instead, if it is of no use."""
    if not isinstance(feature, dict) or not isinstance(feature.get("dtype"), str):
        return "{dtype, shape, names}"
    shape, dtype = feature.get("shape"), feature["dtype"]
    if not isinstance(shape, list) or not shape or len(shape) > 8:
        return "{dtype, shape, names}"
    if not all(
        isinstance(size, int) and not isinstance(size, bool) and 0 < size <= 1 << 20 for size in shape
    ):
        return "a shape of sizes from 1 on"
    kind = "" if dtype in ("video", "image", "string") else _kind(dtype)
    if kind is None:
        return "a dtype of numbers, or bool, string, image or video"
    if key in (*fmt.INDEX_FEATURES, *_SCALARS) and (shape != [1] or not kind):
        return "one number of shape [1]"
    if key in fmt.INDEX_FEATURES and key != "timestamp" and kind not in ("i", "u"):
        return "a whole number"
    if key in _VECTORS and (len(shape) != 1 or not kind):
        return "a vector of numbers"
    if key == fmt.SOURCE and (dtype, shape) != ("string", [1]):
        return "one string"
    return None


def _kind(dtype: str) -> str | None:
    """numpy's letter for a dtype of numbers or bools."""
    try:
        kind = np.dtype(dtype).kind
    except (TypeError, ValueError):
        return None
    return kind if kind in "biuf" else None


def read_quarantine(root: Path) -> dict[int, list[str]]:
    """Quarantined episodes and the reasons."""
    path = root / fmt.QUARANTINE
    if not path.exists():
        return {}
    with parsing(path, "delete it and check the dataset again"):
        aside = fmt.read_json(path)["episodes"]
        return {int(index): [str(reason) for reason in reasons] for index, reasons in aside.items()}


def read_data(
    path: Path, features: Mapping[str, Mapping[str, Any]], keys: Sequence[str], *, max_rows: int
) -> dict[str, np.ndarray]:
    """Columns of one data file as numpy arrays; of still images, the encoded bytes as objects.

    Raises:
        DamagedFileError: the file is missing, cut short, larger than the dataset says, or lacks a column.
    """
    fix = f"restore the file, or {CHECK}"
    table = fmt.read_table(path, fix=fix, columns=list(keys), max_rows=max_rows)
    columns = {}
    with parsing(path, fix):
        for key in keys:
            if features[key]["dtype"] == "image":
                cells = table[key].to_pylist()
                columns[key] = np.array([cell and cell.get("bytes") for cell in cells], dtype=object)
            else:
                columns[key] = fmt.numpy_column(table, key, features[key], path=path)
    return columns


def rows_by_episode(table: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
    """The rows of each episode in a file, in the order of their frames."""
    order = np.lexsort((table["frame_index"], table["episode_index"]))
    indices, starts = np.unique(table["episode_index"][order], return_index=True)
    stops = [*starts[1:], len(order)]
    return {i: order[a:b] for i, a, b in zip(indices.tolist(), starts.tolist(), stops, strict=False)}


def locate(
    table: Mapping[str, np.ndarray], rows: Mapping[int, np.ndarray], index: int, length: int, path: Path
) -> np.ndarray:
    """The rows of episode `index`, in the order of its frames; `rows` is what `rows_by_episode` gives.

    Raises:
        DamagedFileError: the episode has too few or too many rows, or its frames are not 0, 1, 2 ...
    """
    at = rows.get(index, np.empty(0, np.int64))
    if len(at) != length:
        raise DamagedFileError(path, f"episode {index} has {len(at)} rows, its length is {length}", CHECK)
    if not np.array_equal(table["frame_index"][at], np.arange(length)):
        raise DamagedFileError(path, f"the frames of episode {index} are not 0 to {length - 1}", CHECK)
    return at


def decode_still(data: object, image: Image, *, path: Path) -> np.ndarray:
    """One encoded picture of the data file `path` as `[C h w]` uint8."""
    from PIL import Image as Still

    with parsing(path, CHECK):
        if not isinstance(data, bytes):
            raise ValueError("the picture is missing")
        with Still.open(io.BytesIO(data)) as still:
            if still.size != (image.width, image.height):
                raise ValueError(f"the picture is {still.size[1]} x {still.size[0]}")
            return np.asarray(still.convert("RGB")).transpose(2, 0, 1)
