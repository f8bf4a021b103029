"""What an importer makes of a file: arrays by name, and episodes of them, read one at a time.

An importer is a module of this package with `NAME`, `recognises` and `opened` (see `Importer`). It knows one
layout and nothing of specs, videos or datasets: `data.convert` makes these, the same way for all.
"""

from __future__ import annotations

import contextlib
import importlib
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from robopolicy.core.errors import DatasetError, UserError
from robopolicy.core.machine import pip_install
from robopolicy.core.spec import ActionSemantics
from robopolicy.data.damage import SURPRISES

# of HDF5, compressors and archives
_SURPRISES = (*SURPRISES, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, kw_only=True)
class Take:
    """One episode of L steps, in the types of the file.

    Args:
        name: what the file calls it, for messages.
        observation: array name to `[L ...]`, of the arrays that were asked for.
        action: `[L A]`.
        reward: `[L]`, or None where the file has none.
        mask: `[L]` bool, false where nothing is bootstrapped beyond the step; None where the file does not
            say.
        success: whether the task was solved; false where the file does not say.
    """

    name: str
    observation: Mapping[str, np.ndarray]
    action: np.ndarray
    reward: np.ndarray | None = None
    mask: np.ndarray | None = None
    success: bool = False


@dataclass(frozen=True, kw_only=True)
class Source:
    """An open file of episodes.

    Args:
        arrays: name of each array of observations to its shape without the axis of time. What is of the
            world rather than of the robot has a name that begins with `env.`.
        action_size: A.
        takes: `(names of arrays) -> takes`, in order; one episode is in memory at a time.
        control_hz: steps a second, where the file says.
        usual_hz: what most files of the layout have, where they do not say.
        semantics: of the actions, where the file says.
        tells_success: whether the file says which episodes solved their task.
        robot_type: where the file says.
        in_order: the arrays have no names of their own; it is the order of their elements that a task shares.
        origin: what is kept in `meta/origin.json`, beside the file's name and its layout.
    """

    arrays: Mapping[str, tuple[int, ...]]
    action_size: int
    takes: Callable[[Collection[str]], Iterator[Take]]
    control_hz: float | None = None
    usual_hz: float | None = None
    semantics: ActionSemantics | None = None
    tells_success: bool = False
    robot_type: str = "unknown"
    in_order: bool = False
    origin: Mapping[str, Any] = field(default_factory=dict)


class Importer(Protocol):
    """A module that reads one layout."""

    @property
    def NAME(self) -> str:  # noqa: N802
        """The layout and how its files are called, for messages."""
        ...

    def recognises(self, path: Path) -> bool:
        """Whether a path looks like a file of this layout; nothing is read but names."""
        ...

    def opened(self, path: Path) -> AbstractContextManager[Source]:
        """Open a file; DatasetError says what is wrong with it."""
        ...


@contextlib.contextmanager
def reading(path: Path, fix: str = "get the file again") -> Iterator[None]:
    """Within the block, whatever goes wrong is the fault of the file.

    Raises:
        DatasetError: in place of what the libraries say of such a file.
    """
    try:
        yield
    except UserError:
        raise
    except _SURPRISES as error:
        raise DatasetError(f"{path} cannot be read: {str(error)[:300] or repr(error)}; {fix}") from error


def library(name: str, path: Path) -> ModuleType:
    """An optional package that reads `path`.

    Raises:
        DatasetError: it is not installed; the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DatasetError(
            f"{path} is read with {name} ({error}); install it: {pip_install(name)}"
        ) from error


def require_numbers(path: Path, name: str, dtype: np.dtype, shape: tuple[int, ...], *, axes: int = 0) -> None:
    """Refuse an array of anything but numbers and truth values, and one of another number of axes (0: any).

    Raises:
        DatasetError: names the array, its type and shape.
    """
    if dtype.kind not in "biuf":
        raise DatasetError(
            f"{path}: {name} holds {dtype}; only numbers are read, nothing is unpickled: write it as numbers"
        )
    if (axes and len(shape) != axes) or not shape or 0 in shape[1:]:
        wanted = f"{axes} axes are" if axes else "an axis of time is"
        raise DatasetError(
            f"{path}: {name} has shape {list(shape)}; {wanted} meant, none empty but the first"
        )
