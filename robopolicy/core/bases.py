"""What a learner is built on and its checkpoint does not hold: folders of pretrained weights.

A base is large and many checkpoints share it, so a checkpoint refers to it by its path and by the hash of its
files. What has been moved or changed since is refused: a head that was trained on the features of one model
says nothing on those of another, and would say it without an error.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from robopolicy.core.errors import CheckpointError, ConfigError

SUFFIXES = frozenset({".json", ".safetensors", ".txt", ".model"})  # of the files that say what a model does


@dataclass(frozen=True, kw_only=True)
class Base:
    """A folder of pretrained weights.

    Args:
        path: as it was given.
        sha256: of its files and their names.
    """

    path: str
    sha256: str

    @staticmethod
    def of(folder: str) -> Base:
        """The base in this folder as it is now; `ConfigError` where there is no such folder."""
        if not os.path.isdir(folder):
            raise ConfigError(f"there is no folder {folder}; give that of a pretrained model")
        digest = hashlib.sha256()
        for path in sorted(Path(folder).iterdir()):
            if path.suffix in SUFFIXES and path.is_file():
                with open(path, "rb") as raw:
                    content = hashlib.file_digest(raw, "sha256").hexdigest()
                digest.update(f"{path.name} {content}\n".encode())
        return Base(path=folder, sha256=digest.hexdigest())


class OnBase(nn.Module):
    """A module that is built on a base; a subclass says which.

    Attributes:
        base: what its checkpoint refers to.
    """

    base: Base


def bases_of(module: nn.Module) -> dict[str, str]:
    """The hashes of all that `module` is built on, by path."""
    return {each.base.path: each.base.sha256 for each in module.modules() if isinstance(each, OnBase)}


def require_there(bases: Mapping[str, str], checkpoint: Path) -> None:
    """Refuse to build what was built on folders that are no longer where they were.

    Raises:
        CheckpointError: names the folder, and how to bring it back.
    """
    for path in bases:
        if not os.path.isdir(path):
            raise CheckpointError(
                f"{checkpoint} is built on the pretrained model {path}, which is not there; "
                f"put it back, or link to where it is now: ln -s FOLDER {path}"
            )


def require_same(bases: Mapping[str, str], module: nn.Module, checkpoint: Path) -> None:
    """Refuse weights that were trained on other bases than `module` is built on.

    Raises:
        CheckpointError: names the folder whose files have changed.
    """
    found = set(bases_of(module).values())
    for path, sha256 in bases.items():
        if sha256 not in found:
            raise CheckpointError(
                f"{checkpoint} is built on the pretrained model {path}, whose files had the SHA-256 "
                f"{sha256[:12]} then and are others now; put the former ones back, or train again"
            )
