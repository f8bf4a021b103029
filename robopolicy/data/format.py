"""LeRobotDataset v3.0 on disk: names, types, paths, and how a `Spec` maps onto them.

State elements whose name begins with `env.` are `observation.environment_state`, the others
`observation.state`, so that a camera policy of any framework is not told where things are. A `Spec` holds
more than the format can say (bounds, units, semantics); it travels in `meta/robopolicy.json`, which other
readers ignore. The format is defined by lerobot's code, `src/lerobot/datasets/utils.py` at 0.4.4.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robopolicy.core.errors import DatasetError
from robopolicy.core.files import write_text
from robopolicy.core.spec import Image, Spec, Vector
from robopolicy.data.damage import CHECK, RESTORE, DamagedFileError, count, parsing

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
OWN, QUARANTINE = "meta/robopolicy.json", "meta/quarantine.json"
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
EPISODES_PATH = f"meta/episodes/{_FILE}.parquet"
DATA_PATH = f"data/{_FILE}.parquet"
VIDEO_PATH = f"videos/{{video_key}}/{_FILE}.mp4"
CHUNKS_SIZE, DATA_MB, VIDEO_MB = 1000, 100, 200

STATE, ENV_STATE, ACTION = "observation.state", "observation.environment_state", "action"
CAMERA = "observation.images."
REWARD, DONE, TRUNCATED, SUCCESS = "next.reward", "next.done", "next.truncated", "next.success"
SOURCE = "source"
INDEX_FEATURES: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}
_OURS = {STATE, ENV_STATE, ACTION, REWARD, DONE, TRUNCATED, SUCCESS, SOURCE, *INDEX_FEATURES}
_MAX_JSON = 1 << 28


def features_of(
    spec: Spec, columns: Mapping[str, Mapping[str, Any]], videos: Mapping[str, Mapping[str, object]]
) -> dict[str, dict[str, Any]]:
    """The `features` of `info.json`: of `spec`, further columns (name to dtype and shape) and video infos."""

    def vector(names: tuple[str, ...]) -> dict[str, Any]:
        return {"dtype": "float32", "shape": [len(names)], "names": list(names)}

    def scalar(dtype: str) -> dict[str, Any]:
        return {"dtype": dtype, "shape": [1], "names": None}

    robot, world = split_state(spec)
    features = {STATE: vector(robot), ENV_STATE: vector(world), ACTION: vector(spec.action.names)}
    features = {key: feature for key, feature in features.items() if feature["names"]}
    features |= {REWARD: scalar("float32"), DONE: scalar("bool"), TRUNCATED: scalar("bool")}
    features |= {SUCCESS: scalar("bool"), SOURCE: scalar("string")}
    features |= {name: {**column, "names": None} for name, column in columns.items()}
    for name, image in spec.images.items():
        features[CAMERA + name] = {
            "dtype": "video",
            "shape": [image.height, image.width, image.channels],
            "names": ["height", "width", "channels"],
            "info": dict(videos[name]),
        }
    return features | INDEX_FEATURES


def column_features(columns: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """dtype and shape of an episode's further columns `[L ...]`.

    Raises:
        DatasetError: a name or a type that the format cannot hold.
    """
    described = {}
    for name, column in columns.items():
        if name in _OURS or name.startswith(CAMERA) or "/" in name:
            raise DatasetError(f"a column may not be called '{name}'; rename it")
        if column.dtype.kind not in "biuf" or column.ndim > 6 or 0 in column.shape[1:]:
            raise DatasetError(
                f"column '{name}' is {column.dtype} {column.shape}; numbers or bools of 1 to 6 axes are meant"
            )
        described[name] = {"dtype": str(column.dtype), "shape": list(column.shape[1:]) or [1]}
    return described


def split_state(spec: Spec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The state's names as (of the robot, of the environment)."""
    world = tuple(name for name in spec.state.names if name.startswith("env."))
    return tuple(name for name in spec.state.names if not name.startswith("env.")), world


def feature_names(key: str, feature: Mapping[str, Any]) -> tuple[str, ...]:
    """One name per element of a vector feature; made up where the dataset gives none that fit."""
    names = feature.get("names")
    if isinstance(names, Mapping):
        names = [name for group in names.values() for name in (group if isinstance(group, list) else [group])]
    size = int(feature["shape"][0])
    if not isinstance(names, list) or len(names) != size or len(set(map(str, names))) != size:
        names = [f"{key.removeprefix('observation.')}.{i}" for i in range(size)]
    if key == ENV_STATE:
        return tuple(name if str(name).startswith("env.") else f"env.{name}" for name in map(str, names))
    return tuple(map(str, names))


def cameras_of(features: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Camera name to feature key; depth cameras are left out."""
    return {
        key.removeprefix(CAMERA).removeprefix("observation."): key
        for key, feature in features.items()
        if feature["dtype"] in ("video", "image")
        and not (feature.get("info") or {}).get("video.is_depth_map")
    }


def foreign_spec(features: Mapping[str, Mapping[str, Any]], *, fps: float, text: bool) -> Spec:
    """The spec of a dataset that another program wrote: its names; no bounds, unknown units."""

    def vector(keys: tuple[str, ...]) -> Vector:
        names = [name for key in keys if key in features for name in feature_names(key, features[key])]
        return Vector.of({name: (-np.inf, np.inf, "unknown") for name in names})

    if ACTION not in features:
        raise DatasetError(
            f"{INFO} has no feature 'action' (it has {sorted(features)}); nothing can be learned"
        )
    images = {}
    for name, key in cameras_of(features).items():
        height, width, channels = image_size(features[key])
        images[name] = Image(height=height, width=width, channels=channels)
    return Spec(
        state=vector((STATE, ENV_STATE)), action=vector((ACTION,)), control_hz=fps, images=images, text=text
    )


def image_size(feature: Mapping[str, Any]) -> tuple[int, int, int]:
    """Height, width and channels of a camera feature, whatever order its shape has."""
    shape = [int(size) for size in feature["shape"]]
    names = feature.get("names") or ["height", "width", "channels"]
    if len(shape) != 3 or len(names) != 3:
        raise DatasetError(f"{INFO}: a camera has shape {shape} with names {names}; three axes are meant")
    if str(names[0]).startswith("channel"):
        shape = [shape[1], shape[2], shape[0]]
    return shape[0], shape[1], shape[2]


def require_column(values: np.ndarray, key: str, feature: Mapping[str, Any]) -> None:
    """Raises ValueError where `values [L ...]` do not fill the feature's shape, or are text, not numbers."""
    shape, text = feature["shape"], feature["dtype"] == "string"
    if values.size != len(values) * int(np.prod(shape)) or (values.dtype.kind in "OU") != text:
        raise ValueError(
            f"{key} is {values.dtype} {values.shape}, the dataset has {feature['dtype']} {shape}"
        )


def arrow_column(values: np.ndarray, feature: Mapping[str, Any]) -> pa.Array:
    """`values [L ...]` as the Arrow array that the feature asks for."""
    shape, dtype = list(feature["shape"]), feature["dtype"]
    if dtype == "string":
        return pa.array(values.tolist(), pa.string())
    array = pa.array(np.ascontiguousarray(values).astype(dtype, copy=False).reshape(-1))
    if shape == [1]:
        return array
    if len(shape) == 1:
        return pa.FixedSizeListArray.from_arrays(array, shape[0])
    for size in reversed(shape):  # lerobot keeps tensors as nested lists of variable length
        array = pa.ListArray.from_arrays(np.arange(0, len(array) + 1, size, dtype=np.int32), array)
    return array


def numpy_column(table: pa.Table, key: str, feature: Mapping[str, Any], *, path: Path) -> np.ndarray:
    """Column `key` of the file `path`, as `arrow_column` made it: `[L]` for shape (1,), else `[L *shape]`.

    Raises:
        DamagedFileError: values are missing, do not fill the shape or are of another type.
    """
    column = table[key]
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # pyarrow returns one where there are no chunks
        array = array.chunk(0) if array.num_chunks else pa.array([], column.type)
    rows, shape = len(array), list(feature["shape"])
    while pa.types.is_nested(array.type) and array.null_count == 0:
        array = array.flatten()
    wanted = rows * int(np.prod(shape))
    if array.null_count or len(array) != wanted:
        raise DamagedFileError(path, f"{key} has missing or ragged values", f"restore the file, or {CHECK}")
    if feature["dtype"] == "string":
        return np.array(array.to_pylist(), dtype=object)
    try:
        with np.errstate(invalid="ignore"):  # a float that is no integer is refused by what is checked later
            values = array.to_numpy(zero_copy_only=False).astype(feature["dtype"], copy=False)
    except (TypeError, ValueError) as error:
        problem = f"{key} is {array.type}, {INFO} says {feature['dtype']}"
        raise DamagedFileError(path, problem, f"restore the file, or {CHECK}") from error
    return values.reshape(rows) if shape == [1] else values.reshape(rows, *shape)


def huggingface_metadata(features: Mapping[str, Mapping[str, Any]]) -> dict[bytes, bytes]:
    """The schema metadata by which `datasets` knows the columns' types."""

    def typed(feature: Mapping[str, Any]) -> dict[str, Any]:
        shape, value = list(feature["shape"]), {"dtype": feature["dtype"], "_type": "Value"}
        if shape == [1]:
            return value
        if len(shape) == 1:
            return {"feature": value, "length": shape[0], "_type": "List"}
        return {"shape": shape, "dtype": feature["dtype"], "_type": f"Array{len(shape)}D"}

    columns = {key: typed(feature) for key, feature in features.items() if feature["dtype"] != "video"}
    return {b"huggingface": json.dumps({"info": {"features": columns}}).encode()}


def tasks_table(tasks: list[str]) -> pa.Table:
    """`tasks.parquet`: a pandas frame whose index is the task and whose column is `task_index`."""
    metadata = {
        "index_columns": ["task"],
        "column_indexes": [
            {
                "name": None,
                "field_name": None,
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": {"encoding": "UTF-8"},
            }
        ],
        "columns": [
            {
                "name": "task_index",
                "field_name": "task_index",
                "pandas_type": "int64",
                "numpy_type": "int64",
                "metadata": None,
            },
            {
                "name": "task",
                "field_name": "task",
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": None,
            },
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.3",
    }
    table = pa.table(
        {"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())}
    )
    return table.replace_schema_metadata({"pandas": json.dumps(metadata)})


def read_tasks(root: Path) -> dict[int, str]:
    """Task index to instruction; the instruction is the pandas index, whatever its column is called."""
    path = root / TASKS
    table = read_table(path)
    with parsing(path):
        others = [name for name in table.column_names if name != "task_index"]
        pandas = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
        named = [name for name in pandas.get("index_columns", []) if name in others] or others[:1]
        if "task_index" not in table.column_names or not named:
            raise DamagedFileError(path, f"a task index is missing, the columns are {table.column_names}")
        pairs = list(zip(table["task_index"].to_pylist(), table[named[0]].to_pylist(), strict=True))
        tasks = {count(index, "task_index"): text for index, text in pairs}
        if len(tasks) < len(pairs) or not all(isinstance(text, str) for text in tasks.values()):
            raise ValueError("a task is there twice or has no text")
    return tasks


def read_table(
    path: Path, *, fix: str = RESTORE, columns: list[str] | None = None, max_rows: int | None = None
) -> pa.Table:
    """A parquet file.

    Raises:
        DamagedFileError: it is missing, cannot be read, lacks one of `columns` or has more than `max_rows`.
    """
    try:
        file = pq.ParquetFile(path)
        rows = file.metadata.num_rows
        if max_rows is not None and rows > max_rows:
            raise DamagedFileError(path, f"has {rows} rows, the dataset has {max_rows}", fix)
        if missing := [key for key in columns or () if key not in file.schema_arrow.names]:
            raise DamagedFileError(path, f"lacks the columns {missing}", fix)
        return file.read(columns=columns)
    except (OSError, pa.ArrowException, ValueError) as error:
        missing = not path.exists()
        problem = "is missing" if missing else f"cannot be read, it may be cut short ({error})"
        raise DamagedFileError(path, problem, fix) from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises DamagedFileError when it is missing, damaged or no object."""
    with parsing(path):
        try:
            if path.stat().st_size > _MAX_JSON:
                raise ValueError(f"it is larger than {_MAX_JSON >> 20} MB")
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DamagedFileError(path, "is missing") from error
        except RecursionError as error:
            raise ValueError("it is nested too deep") from error
        if not isinstance(content, dict):
            raise ValueError(f"it holds {str(content)[:60]!r}, an object is meant")
    return content


def write_json(path: Path, value: object) -> None:
    """Write JSON aside and rename it into place."""
    write_text(path, json.dumps(value, indent=4, ensure_ascii=False))


def resolve(root: Path, template: object, **fields: int | str) -> Path:
    """The file that a template of `info.json` names.

    Raises:
        DamagedFileError: the template asks for unknown fields, is absolute, or leads out of the dataset.
    """
    try:
        if not isinstance(template, str):
            raise ValueError("it is not text")
        asked = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
        if not asked <= fields.keys():
            raise ValueError(f"it may only hold {sorted(fields)}")
        path = (root / template.format(**fields)).resolve()
        inside = path.is_relative_to(root.resolve())
    except (ValueError, OSError, MemoryError) as error:
        problem = f"the path template {template!r} is not valid: {error}"
        raise DamagedFileError(root / INFO, problem, "correct the template") from error
    if not inside:
        raise DamagedFileError(
            root / INFO,
            f"the path template {template!r} leads to {path}, outside the dataset",
            "correct the template, or copy the files it links to into the dataset",
        )
    return path
