"""Files and folders that are there completely or not at all: written aside, made durable, renamed into place.

It is in `core` because checkpoints, datasets, results and runs are all written so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from robopolicy.core.errors import UserError
from robopolicy.core.machine import is_alive


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Within the block, a disk that refuses (full, read-only, no folder) is the user's to mend.

    Raises:
        UserError: in the place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror or error}); free some space or choose another "
            "folder. What was finished before is kept"
        ) from error


def aside_of(path: Path) -> Path:
    """A name beside `path` that only this process writes to, and that no reader's pattern matches."""
    return path.with_name(f".{path.name}.tmp-{os.getpid()}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write a file or a folder to: it becomes `path` when the block succeeds, else it is removed.

    What processes that were killed while they wrote `path` left behind is removed first.

    Raises:
        OSError: the disk refuses; `path` is what it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.scandir(path.parent) as found:
        for item in found:
            name, _, process = item.name.rpartition(".tmp-")
            if name == f".{path.name}" and process.isdecimal() and not is_alive(int(process)):
                _remove(Path(item.path))
    aside = aside_of(path)
    _remove(aside)
    try:
        yield aside
        publish(aside, path)
    finally:
        _remove(aside)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def point(link: Path, target: str) -> None:
    """Make `link` point at `target`, whatever it pointed at before."""
    with replacing(link) as aside:
        aside.symlink_to(target)


def publish(aside: Path, path: Path) -> None:
    """Rename a finished file or folder into place, so that a power cut leaves either the old or the new."""
    if not aside.is_symlink():
        for part in (aside, *aside.iterdir()) if aside.is_dir() else (aside,):
            _sync(part)
    os.replace(aside, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
