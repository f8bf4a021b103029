"""The replay buffer of Diffusion Policy (Chi et al. 2023, arXiv 2303.04137) in zarr, a folder or a `.zip`.

`data/NAME [F ...]` holds what was recorded, one row a step, `action` among it; `meta/episode_ends [episodes]`
the row behind the last one of each episode. Rows behind the last episode do not count. The layout knows
neither the control rate nor rewards nor success.

Only the codecs below are let in: zarr finds a codec by the name that the file gives, and one of them
unpickles.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from robopolicy.core.errors import DatasetError
from robopolicy.data.importers.source import Source, Take, library, reading, require_numbers

NAME = "Diffusion Policy's .zarr or .zarr.zip"
_CODECS = {"blosc", "zstd", "zlib", "gzip", "lz4", "bz2", "lzma", "shuffle", "delta", "crc32", "crc32c"}
_CODECS |= {"bytes", "transpose", "sharding_indexed"}  # of format 3


def recognises(path: Path) -> bool:
    """See `Importer.recognises`."""
    return path.suffix in (".zarr", ".zip") or any(
        (path / name).is_file() for name in (".zgroup", "zarr.json")
    )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Source]:
    """See `Importer.opened`."""
    zarr = library("zarr", path)
    fix = "its groups data and meta must lie at its top: unpack it where they lie deeper"
    with reading(path, fix):
        if path.is_dir():
            _refuse_links(path)
            store = zarr.storage.LocalStore(path, read_only=True)
        else:
            store = zarr.storage.ZipStore(path, mode="r", read_only=True)
    with contextlib.closing(store):
        with reading(path, fix):
            root = zarr.open_group(store, mode="r")
        yield _source(path, root)


def _refuse_links(path: Path) -> None:
    """A link would copy what else is on this machine."""
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            if os.path.islink(link := os.path.join(folder, name)):
                raise DatasetError(f"{link} is a link, which is not followed; copy what it names")


def _source(path: Path, root: Any) -> Source:
    with reading(path, f"get the file again, or write it with one of {sorted(_CODECS)}"):
        data, meta = (dict(sorted(_group(path, root, name).arrays())) for name in ("data", "meta"))
    arrays = {name: _checked(path, f"data/{name}", array) for name, array in data.items()}
    if "episode_ends" not in meta:
        raise DatasetError(f"{path}: meta has no episode_ends, so nothing tells where episodes end; add it")
    ends = _ends(path, _checked(path, "meta/episode_ends", meta["episode_ends"]))
    if "action" not in arrays:
        raise DatasetError(f"{path}: data has no array 'action', it has {sorted(arrays)}; {NAME} has one")
    for name, array in arrays.items():
        if len(ends) and array.shape[0] < ends[-1]:
            raise DatasetError(
                f"{path}: data/{name} has {array.shape[0]} rows, the last of episode_ends is {ends[-1]}"
                "; get the file again"
            )
    require_numbers(path, "data/action", arrays["action"].dtype, arrays["action"].shape, axes=2)

    def takes(names: Collection[str]) -> Iterator[Take]:
        start = 0
        for number, stop in enumerate(ends):
            with reading(path):
                parts = {name: np.asarray(arrays[name][start:stop]) for name in {"action", *names}}
            action = parts["action"]
            observed = {name: parts[name] for name in names}
            yield Take(name=f"episode {number}", observation=observed, action=action)
            start = stop

    return Source(
        arrays={name: array.shape[1:] for name, array in arrays.items() if name != "action"},
        action_size=arrays["action"].shape[1],
        takes=takes,
    )


def _group(path: Path, root: Any, name: str) -> Any:
    if name not in root:
        raise DatasetError(f"{path} has no group '{name}', it has {sorted(root)}; {NAME} has data and meta")
    return root[name]


def _checked(path: Path, name: str, array: Any) -> Any:
    """An array of numbers, and of codecs that do nothing else than decode."""
    parts = array.metadata.to_dict()
    used = {codec for part in ("codecs", "filters", "compressor") for codec in _codecs(parts.get(part))}
    if strange := sorted(used - _CODECS):
        raise DatasetError(
            f"{path}: {name} is encoded with {strange}, which is not decoded, nor anything unpickled; "
            f"write it again with one of {sorted(_CODECS)}"
        )
    require_numbers(path, name, array.dtype, array.shape)
    return array


def _codecs(node: Any) -> Iterator[str]:
    """The names of all codecs within a part of an array's metadata."""
    if isinstance(node, Mapping):
        if name := node.get("id") or node.get("name"):
            yield str(name)
        node = tuple(node.values())
    if isinstance(node, list | tuple):
        for item in node:
            yield from _codecs(item)


def _ends(path: Path, array: Any) -> list[int]:
    with reading(path):
        ends = np.asarray(array[:])
    if ends.ndim != 1 or ends.dtype.kind not in "iu":
        raise DatasetError(
            f"{path}: episode_ends is {ends.dtype} {list(ends.shape)}; whole numbers are meant"
        )
    stops = [int(end) for end in ends]
    for before, end in pairwise([0, *stops]):
        if end <= before:
            raise DatasetError(
                f"{path}: episode_ends does not grow, {end} follows {before}; mend it, each is the row "
                "behind an episode"
            )
    return stops
