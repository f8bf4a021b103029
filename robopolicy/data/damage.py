"""Errors that say which file of a dataset is damaged, or what could not be written, and what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from robopolicy.core.errors import DatasetError, UserError

RESTORE = "restore the file"
CHECK = "`robopolicy data check DIR` shows what is wrong, with `--quarantine` it sets the episodes aside"
# What Python and the libraries raise at content of an unexpected form.
SURPRISES = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    OSError,
)


class DamagedFileError(DatasetError):
    """A file of a dataset is missing, damaged, or contradicts the others.

    Args:
        path: the file.
        problem: what is wrong, with the value.
        fix: what to do.
    """

    def __init__(self, path: Path, problem: str, fix: str = RESTORE) -> None:
        super().__init__(f"{path}: {problem}; {fix}")
        self.path, self.problem, self.fix = path, problem, fix


class UnwrittenError(DatasetError, OSError):
    """The disk refuses (full, read-only).

    It is an OSError too, so that who writes aside can say it of the folder that was asked for.

    Args:
        what: could not be done.
        error: what the disk says.
        fix: what is safe, and what to do.
    """

    def __init__(self, what: str, error: OSError, fix: str) -> None:
        said = error.strerror or str(error)
        super().__init__(f"{what} ({said}); {fix}")
        self.strerror = said


@contextlib.contextmanager
def parsing(path: Path, fix: str = RESTORE) -> Iterator[None]:
    """Within the block, content of an unexpected form is the fault of the file `path`.

    Raises:
        DamagedFileError: in place of what Python says of such content.
    """
    try:
        yield
    except DamagedFileError:
        raise
    except (*SURPRISES, pa.ArrowException, UserError) as error:
        said = str(error) if isinstance(error, ValueError | UserError) else repr(error)
        raise DamagedFileError(path, f"is damaged ({said[:300]})", fix) from error


def count(value: object, name: str, *, least: int = 0) -> int:
    """`value`, which must be an int from `least` on (of at most 63 bits).

    Raises:
        ValueError: it is not; inside `parsing` that names the file.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1 << 63:
        raise ValueError(f"{name} is {str(value)[:60]!r}, a whole number from {least} on is meant")
    return value
