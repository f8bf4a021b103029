"""Joins datasets into one. Videos are copied packet by packet where they begin with a key frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robopolicy.core.errors import DatasetError, SpecMismatchError
from robopolicy.data.lerobot import Dataset, open_dataset
from robopolicy.data.writer import DatasetWriter


def merge(paths: Sequence[str | Path], out: str | Path) -> Dataset:
    """Write all readable episodes of `paths`, in this order, into the new dataset `out`.

    Raises:
        DatasetError: a source is damaged, or `out` already holds something.
        SpecMismatchError: two of them do not have equal specs.
    """
    sources = [open_dataset(path) for path in paths]
    if not sources:
        raise DatasetError("there is nothing to merge; name at least one dataset")
    if Path(out).exists() and any(Path(out).iterdir()):
        raise DatasetError(f"{out} is not empty; merge into a new folder")
    first = sources[0]
    for source in sources[1:]:
        if source.spec != first.spec:
            first.spec.require(source.spec, wanted_by=str(first.root), offered_by=str(source.root))
            raise SpecMismatchError(
                f"{source.root} and {first.root} differ in bounds, in cameras or in elements of the state; "
                "merge datasets of one spec"
            )
    with DatasetWriter(out, spec=first.spec, robot_type=first.robot_type) as writer:
        for source in sources:
            for index in source.episodes:
                writer.append(source.episode(index), videos=source.episodes[index].clips)
    return open_dataset(out)
