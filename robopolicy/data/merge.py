"""Joins datasets into one. Videos are copied packet by packet where they begin with a key frame."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from robopolicy.core.errors import DatasetError, SpecMismatchError
from robopolicy.core.files import replacing, writing
from robopolicy.data import collected, origin
from robopolicy.data import format as fmt
from robopolicy.data.lerobot import Dataset, open_dataset
from robopolicy.data.writer import DatasetWriter


def merge(paths: Sequence[str | Path], out: str | Path) -> Dataset:
    """Write all readable episodes of `paths`, in this order, into the new dataset `out`.

    Raises:
        DatasetError: a source is damaged or given twice, or `out` already holds something.
        SpecMismatchError: two of them do not have equal specs.
    """
    folders = [Path(path).resolve() for path in paths]
    if twice := [path for path, folder in zip(paths, folders, strict=True) if folders.count(folder) > 1]:
        raise DatasetError(f"the dataset {twice[0]} is given more than once; give each dataset once")
    sources = [open_dataset(path) for path in paths]
    if not sources:
        raise DatasetError("there is nothing to merge; name at least one dataset")
    first = sources[0]
    for source in sources[1:]:
        if source.spec != first.spec:
            first.spec.require(source.spec, wanted_by=str(first.root), offered_by=str(source.root))
            raise SpecMismatchError(
                f"{source.root} and {first.root} differ in bounds, in cameras or in elements of the state; "
                "merge datasets of one spec"
            )
    with (
        new_dataset(out) as aside,
        DatasetWriter(aside, spec=first.spec, robot_type=first.robot_type) as writer,
    ):
        for source in sources:
            for row, episode in source.in_turn():
                writer.append(episode, videos=row.clips)
        origin.write(aside, (each for source in sources for each in source.origins))
        collected.write_merged(aside, [source.root for source in sources])
    return open_dataset(out)


@contextlib.contextmanager
def new_dataset(out: str | Path) -> Iterator[Path]:
    """A folder beside `out` that becomes `out` when the block succeeds, and is removed when it does not.

    Raises:
        DatasetError: `out` already holds something.
        UserError: the disk is full.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} is not empty; choose a new folder")
    with writing(out), replacing(out) as aside:
        yield aside
        if not (aside / fmt.INFO).exists():
            raise DatasetError(f"no episode was found to put into {out}; name a source that holds some")
