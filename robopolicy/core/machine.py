"""What a run takes of the machine it is on: processes, a device, a folder for itself, packages."""

from __future__ import annotations

import fcntl
import itertools
import os
import shlex
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType

from robopolicy.core.errors import ConfigError, UserError
from robopolicy.core.share import share
from robopolicy.core.threads import usable_cores

LOCK = ".lock"
KINDS = {  # what tells a folder of one kind from those of the others
    "dataset": ("meta/info.json", ".journal"),
    "run": ("checkpoints", "log.jsonl"),
    "evaluation": ("results.json", "episodes"),
}
TRIES = 100  # a folder that so many times is not there is no race with a holder who removes it
GL = {  # what makes each of MuJoCo's backends draw
    "egl": "sudo apt install libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri",
    "osmesa": "sudo apt install libosmesa6",
    "glfw": "sudo apt install libgl1 libglfw3 xvfb, then xvfb-run -a robopolicy ...",
}


def num_workers(asked: int | None) -> int:
    """How many processes share the work: as many as asked for; None means one for each usable core.

    Raises:
        ConfigError: none at all.
    """
    if asked is not None and (not isinstance(asked, int) or asked < 1):
        raise ConfigError(f"workers is {asked!r}; give 1 or more, or null for one per core")
    return usable_cores() if asked is None else asked


def check_device(device: str) -> None:
    """Refuse a device that is not here.

    Raises:
        ConfigError: neither `cpu` nor `cuda`, or a GPU that torch does not see.
    """
    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise ConfigError(f"device is '{device}'; cpu or cuda is meant")
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            raise ConfigError(f"device is '{device}', but torch sees no GPU; use device=cpu")


def pip_install(*wanted: str) -> str:
    """The command that installs packages (`numpy`, `robopolicy[vlm]`) in the versions that were tested."""
    pinned = ["-c", str(share("constraints.txt"))]
    return shlex.join([sys.executable, "-m", "pip", "install", *pinned, *wanted])


def is_alive(process: int) -> bool:
    """Whether a process of this id is there, of whichever user."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True  # another user's
    except (ProcessLookupError, OverflowError):  # none, or no id at all
        return False
    return True


def missing_folders(folder: Path) -> list[Path]:
    """The folder and those above it that are not there, the deepest first: what making it will make."""
    return [each for each in (folder, *folder.parents) if not os.path.exists(each)]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove these folders, up to the first that is not empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


class Lock(AbstractContextManager["Lock"]):
    """The right to write into a folder; a context manager.

    The kernel takes it back when the process ends, however it ends. A folder that was made for it, and in
    which nothing was written, is removed again: what is refused leaves nothing behind.

    Args:
        folder: made where it is missing.
        doing: what it is taken for, told to whoever comes second: `training`, `recording`.
        kind: of `KINDS`, what it is to hold; None where that is not told.
        instead: of waiting, what whoever comes second can do.

    Raises:
        UserError: another process holds it (or this one, already), it is of another kind, or it cannot be
            written.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        doing: str,
        kind: str | None = None,
        instead: str = "choose another folder",
    ) -> None:
        folder = Path(folder)
        for other, marks in KINDS.items() if kind is not None else ():
            there = [mark for mark in marks if os.path.exists(folder / mark)]
            if there and other != kind:
                raise UserError(
                    f"{folder} cannot take the {kind}: it holds the {other} that {there[0]} is part of; "
                    "choose another folder"
                )
        self._path = folder / LOCK
        self._made = missing_folders(folder)
        for attempt in itertools.count(1):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                if isinstance(error, FileNotFoundError) and attempt < TRIES:
                    continue  # the last holder wrote nothing and removed it
                remove_empty(self._made)
                raise UserError(
                    f"{folder} cannot be written ({error.strerror}); choose another folder"
                ) from error
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.read(self._handle, 80).decode(errors="replace") or "another process is working"
                os.close(self._handle)
                raise UserError(f"{holder} in {folder}; wait until it has finished, or {instead}") from error
            if self._is_current():
                break
            os.close(self._handle)  # the last holder removed the file between our open and our lock
        try:
            os.ftruncate(self._handle, 0)
            os.write(self._handle, f"process {os.getpid()} is {doing}".encode())
        except OSError as error:  # a full disk, which lets an empty file be made
            self.release()
            raise UserError(f"{folder} cannot be written ({error.strerror}); free space there") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let others write."""
        self._path.unlink(missing_ok=True)
        remove_empty(self._made)
        os.close(self._handle)

    def _is_current(self) -> bool:
        try:
            return os.fstat(self._handle).st_ino == self._path.stat().st_ino
        except FileNotFoundError:
            return False
