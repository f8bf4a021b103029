"""Checkpoints: folders of plain files that are complete or absent, and never run code.

    config.yaml          what `core.build` builds, resolved
    spec.json            what the learner sees and commands
    model.safetensors    its weights, normaliser included
    train.safetensors    what only a resumed run needs: optimiser moments ... (may be absent, with train.json)
    train.json           ... and plain values: steps made, settings
    provenance.json      versions, commit, command, time
    manifest.json        format version, size and SHA-256 of every other file, and those of the pretrained
                         models that the learner is built on (see `core.bases`); written last

A folder is written aside, file by file with fsync, and renamed into place, so that a kill or a full disk at
any moment leaves the previous checkpoint as it was. Nothing is ever unpickled: a pickle is refused by name,
unread.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from safetensors import SafetensorError

from robopolicy.core.bases import bases_of, require_same, require_there
from robopolicy.core.build import build
from robopolicy.core.errors import CheckpointError, ConfigError, UserError
from robopolicy.core.files import point, replacing
from robopolicy.core.learner import Learner
from robopolicy.core.plain import check_plain, read_json, read_yaml
from robopolicy.core.provenance import provenance
from robopolicy.core.spec import Spec

FORMAT = 1
MANIFEST = "manifest.json"
REQUIRED = frozenset({"config.yaml", "spec.json", "model.safetensors", "provenance.json"})
OPTIONAL = frozenset({"train.safetensors", "train.json"})
PICKLES = frozenset({".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".joblib", ".npy", ".npz"})


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Write a value that occurs twice out twice: what is read back may hold no aliases."""
        return True


_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainState:
    """What a run needs beside the weights to go on as if it had never stopped.

    Args:
        tensors: by name; saved as safetensors.
        values: plain JSON.
    """

    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


def save(
    folder: Path | str,
    *,
    learner: Learner,
    config: Mapping[str, Any],
    spec: Spec,
    run: Mapping[str, Any] | None = None,
    train_state: TrainState | None = None,
) -> Path:
    """Write a complete checkpoint, or none.

    Args:
        folder: must not exist yet; its parents are made.
        learner: gives the weights.
        config: resolved node that builds this learner.
        spec: what the learner was built with.
        run: settings of the run that made it (`task`, `data` ...), plain; kept in the provenance.
        train_state: for checkpoints that a run will be resumed from.

    Raises:
        CheckpointError: the folder exists, or the disk refused (full, read-only); nothing is left behind.
    """
    folder = Path(folder)
    check_plain(dict(config))
    if folder.exists():
        raise CheckpointError(f"{folder} exists already; choose another folder or delete it")
    contents = {
        "config.yaml": yaml.dump(dict(config), Dumper=_Dumper, sort_keys=False).encode(),
        "spec.json": spec.to_json().encode(),
        "model.safetensors": _pack(learner.state_dict()),
        "provenance.json": _json({**provenance(), "run": dict(run or {})}),
    }
    if train_state is not None:
        contents["train.safetensors"] = _pack(train_state.tensors)
        contents["train.json"] = _json(train_state.values)
    files = {name: {"size": len(raw), "sha256": _sha(raw)} for name, raw in contents.items()}
    contents[MANIFEST] = _json({"format": FORMAT, "files": files, "bases": bases_of(learner)})
    try:
        with replacing(folder) as aside:
            os.mkdir(aside)
            for name, raw in contents.items():
                _write(aside / name, raw)
    except OSError as error:
        raise CheckpointError(
            f"could not write the checkpoint {folder}: {error.strerror or error}; "
            f"free some space or choose another disk. What was finished before is kept"
        ) from error
    return folder


def load(path: Path | str, device: str | torch.device = "cpu") -> Learner:
    """The learner of a checkpoint, in eval mode.

    Args:
        path: a checkpoint folder; or `last` or the folder of a run, meaning the newest complete checkpoint of
            that run.
        device: where the weights go.

    Raises:
        CheckpointError: missing, damaged, of a newer format, a pickle, or weights that do not fit the config.
        ConfigError: the config names foreign code or an argument that does not exist.
    """
    return open_checkpoint(path).learner(device)


def open_checkpoint(path: Path | str) -> Checkpoint:
    """Find and verify a checkpoint; see `load`."""
    path = Path(path)
    for root in (path / "checkpoints", path.parent if path.name == "last" else path):
        if (newest := Checkpoints(root).newest()) is not None:
            return newest
    return Checkpoint.open(path)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint whose files are all there and unchanged since they were written.

    Args:
        path: the folder, resolved.
        config: the node that builds the learner.
        spec: what it was built with.
        provenance: versions, commit, command, time, and the `run`'s settings.
        files: those that the manifest lists; no other is read.
        bases: hashes of the pretrained models that the learner is built on, by folder.
    """

    path: Path
    config: Mapping[str, Any]
    spec: Spec
    provenance: Mapping[str, Any]
    files: frozenset[str]
    bases: Mapping[str, str]

    @property
    def task(self) -> str | None:
        """The task it was trained for, where that is known."""
        run = self.provenance.get("run")
        task = run.get("task") if isinstance(run, dict) else None
        return task if isinstance(task, str) else None

    @staticmethod
    def open(path: Path) -> Checkpoint:
        """Verify every file against the manifest, then read the plain ones."""
        _refuse_what_is_no_folder(path)
        folder = path.resolve()
        try:
            files, bases = _verify(folder)
            config, made = read_yaml(folder / "config.yaml"), read_json(folder / "provenance.json")
            spec = Spec.from_json(json.dumps(read_json(folder / "spec.json")))
        except OSError as error:
            raise CheckpointError(
                f"{folder} could not be read: {error.strerror}: {error.filename}"
            ) from error
        except ConfigError:
            raise
        except ValueError as error:
            raise CheckpointError(f"{folder / 'spec.json'}: {error}; copy the checkpoint again") from error
        if not isinstance(config, dict) or not isinstance(made, dict):
            raise CheckpointError(f"{folder}: config.yaml and provenance.json must hold mappings")
        return Checkpoint(path=folder, config=config, spec=spec, provenance=made, files=files, bases=bases)

    def learner(self, device: str | torch.device = "cpu") -> Learner:
        """Build the learner and give it its weights; every name and shape must agree."""
        require_there(self.bases, self.path)
        with torch.random.fork_rng(devices=[]):  # the initial weights are overwritten: leave no trace
            learner = build(self.config, spec=self.spec)
        if not isinstance(learner, Learner):
            raise ConfigError(f"{self.path / 'config.yaml'} builds a {type(learner).__name__}, not a learner")
        self.restore(learner)
        return learner.to(device).eval()

    def restore(self, learner: Learner) -> None:
        """Copy the weights into `learner`, on its own device."""
        require_same(self.bases, learner, self.path)
        try:
            learner.load_state_dict(self._tensors("model.safetensors"), strict=True)
        except RuntimeError as error:
            lines = str(error).splitlines()
            raise CheckpointError(
                f"{self.path / 'model.safetensors'} does not fit what config.yaml builds: "
                f"{lines[1].strip() if len(lines) > 1 else lines[0]}"
            ) from error

    def train_state(self) -> TrainState:
        """What a resumed run needs.

        Raises:
            CheckpointError: saved without one.
        """
        if OPTIONAL - self.files:
            raise CheckpointError(f"{self.path} holds weights only; it can be used but not resumed")
        return TrainState(
            tensors=self._tensors("train.safetensors"), values=read_json(self.path / "train.json")
        )

    def _tensors(self, name: str) -> dict[str, torch.Tensor]:
        try:
            return safetensors.torch.load_file(self.path / name)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(
                f"{self.path / name} is no safetensors file: {error}; copy it again"
            ) from error


class Checkpoints:
    """The checkpoints of one run: `step_00001000/ ...` and the link `last`.

    Args:
        root: their folder; made when first written to.
        keep: how many of the newest stay.
    """

    def __init__(self, root: Path, *, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least one checkpoint must stay")
        self.root, self.keep = Path(root), keep

    @property
    def last(self) -> Path:
        """The link to the newest."""
        return self.root / "last"

    def save(self, step: int, **what: Any) -> Path:
        """`save` under the name of this step, point `last` at it, and delete what is older than `keep`."""
        folder = save(self.root / f"step_{step:08d}", **what)
        try:
            point(self.last, folder.name)
            for old in self._folders()[self.keep :]:
                trash = self.root / f".{old.name}.old-{os.getpid()}"
                os.rename(old, trash)  # first out of sight, so that a kill leaves no half checkpoint
                shutil.rmtree(trash)
        except OSError as error:
            raise CheckpointError(f"{folder} is written, but tidying {self.root} failed: {error}") from error
        return folder

    def newest(self) -> Checkpoint | None:
        """The newest complete checkpoint; damaged ones are passed over with a warning.

        Raises:
            CheckpointError: there are checkpoints, and every one is damaged.
        """
        damage: UserError | None = None
        for folder in self._folders():
            try:
                return Checkpoint.open(folder)
            except UserError as error:
                _log.warning("%s; trying the checkpoint before it", error)
                damage = damage or error
        if damage is not None:
            raise CheckpointError(f"no checkpoint in {self.root} is whole: {damage}")
        return None

    def recover(self) -> Checkpoint | None:
        """Clean up after a kill and give the newest complete checkpoint.

        What was half written is deleted, damaged checkpoints newer than the one given are set aside under
        another name, and `last` is made to point at the one given.
        """
        for stale in (*self.root.glob(".*.tmp-*"), *self.root.glob(".*.old-*")):
            shutil.rmtree(stale) if stale.is_dir() and not stale.is_symlink() else stale.unlink()
        newest = self.newest()
        for folder in self._folders():
            if newest is not None and folder.name == newest.path.name:
                break
            os.rename(folder, _free(folder.with_name(f"damaged_{folder.name}")))
        if newest is not None and (self.last).resolve() != newest.path:
            point(self.last, newest.path.name)
        return newest

    def _folders(self) -> list[Path]:
        """Newest first."""
        found = [path for path in self.root.glob("step_*") if re.fullmatch(r"step_\d{8,}", path.name)]
        return sorted(found, key=lambda path: int(path.name[5:]), reverse=True)


def _refuse_what_is_no_folder(path: Path) -> None:
    if not path.exists():
        target = f" (it points to {os.readlink(path)})" if path.is_symlink() else ""
        raise CheckpointError(f"there is no checkpoint at {path}{target}; check the path")
    if path.is_file():
        pickled = ": a pickle can run code and is never opened" if path.suffix in PICKLES else ""
        raise CheckpointError(
            f"{path} is a file{pickled}; a checkpoint is a folder with {MANIFEST} and model.safetensors"
        )
    if pickles := sorted(item.name for item in path.iterdir() if item.suffix in PICKLES):
        raise CheckpointError(
            f"{path} holds {pickles}: pickled data can run code and is never opened; "
            f"delete it or export the weights as safetensors"
        )
    if not (path / MANIFEST).is_file():
        raise CheckpointError(
            f"{path} is no checkpoint: {MANIFEST} is missing, or it was not written to the end"
        )


def _verify(folder: Path) -> tuple[frozenset[str], dict[str, str]]:
    """Compare every file that the manifest lists with it; their names, and the bases."""
    try:
        manifest = read_json(folder / MANIFEST)
    except ConfigError as error:
        raise CheckpointError(f"{error}; copy the checkpoint again") from error
    version = manifest.get("format") if isinstance(manifest, dict) else None
    files = manifest.get("files") if isinstance(manifest, dict) else None
    bases = manifest.get("bases", {}) if isinstance(manifest, dict) else None
    if not isinstance(version, int) or not isinstance(files, dict) or not isinstance(bases, dict):
        raise CheckpointError(f"{folder / MANIFEST} is damaged: it has no format and files; copy it again")
    if version > FORMAT:
        raise CheckpointError(
            f"{folder} has format {version}; this robopolicy reads up to {FORMAT}: install a newer one"
        )
    if strange := sorted(files.keys() - REQUIRED - OPTIONAL):
        raise CheckpointError(f"{folder / MANIFEST} lists {strange}, which no checkpoint holds; delete them")
    if missing := sorted(REQUIRED - files.keys()):
        raise CheckpointError(f"{folder / MANIFEST} does not list {missing}; copy the checkpoint again")
    for name, said in files.items():
        file = folder / name
        if not file.is_file():
            raise CheckpointError(f"{file} is missing; copy the checkpoint again")
        if not isinstance(said, dict) or file.stat().st_size != said.get("size"):
            raise CheckpointError(f"{file} is cut short or changed: its size is not {said}; copy it again")
        with open(file, "rb") as raw:
            if hashlib.file_digest(raw, "sha256").hexdigest() != said.get("sha256"):
                raise CheckpointError(f"{file} is damaged: its SHA-256 is not the manifest's; copy it again")
    return frozenset(files), bases


def _pack(tensors: Mapping[str, torch.Tensor]) -> bytes:
    # Cloned, because safetensors refuses tensors that share memory and tied weights do.
    return safetensors.torch.save({name: t.detach().cpu().clone() for name, t in tensors.items()})


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, indent=1, allow_nan=False).encode()


def _sha(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _write(path: Path, raw: bytes) -> None:
    with open(path, "xb") as file:
        file.write(raw)


def _free(path: Path) -> Path:
    """`path`, or the first numbered variant of it that does not exist."""
    number, free = 1, path
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}_{number}")
    return free
