"""Checkpoints from strangers, and damaged ones: each refused by name, nothing unpickled (S01 to S04)."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from robopolicy.core.build import build
from robopolicy.core.checkpoint import FORMAT, TrainState, load, open_checkpoint, save
from robopolicy.core.errors import CheckpointError, ConfigError, UserError
from robopolicy.core.spec import Spec, Vector

SPEC = Spec(
    state=Vector.of({"a": (-1, 1, "1"), "b": (-1, 1, "1")}),
    action=Vector.of({"u": (-1, 1, "1")}),
    control_hz=30.0,
)
CONFIG = {"_target_": "tiny_components.learners.TinyLearner", "width": 3}


class Bomb:
    """Leaves a marker where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(tmp_path / "checkpoint", learner=build(CONFIG, spec=SPEC), config=CONFIG, spec=SPEC)


def forge(folder: Path, name: str, raw: bytes) -> None:
    """Replace a file and make the manifest agree, as an attacker would."""
    (folder / name).write_bytes(raw)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def forge_config(folder: Path, **config: Any) -> None:
    forge(folder, "config.yaml", yaml.safe_dump({**CONFIG, **config}).encode())


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def header(entries: dict[str, Any], data: bytes = b"") -> bytes:
    raw = json.dumps(entries).encode()
    return struct.pack("<Q", len(raw)) + raw + data


NAMES = ["config.yaml", "spec.json", "model.safetensors", "provenance.json"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["flipped", "cut", "gone", "emptied"])
def test_accidents_are_named(folder: Path, name: str, how: str) -> None:
    file = folder / name
    raw = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        flipped = bytes([*raw[:-1], raw[-1] ^ 1])
        file.write_bytes({"flipped": flipped, "cut": raw[:-1], "emptied": b""}[how])
    with pytest.raises(CheckpointError, match=f"{name}.*copy"):
        load(folder)


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_cut_manifest_is_named(folder: Path, cut: int) -> None:
    file = folder / "manifest.json"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(format=FORMAT + 1), f"format {FORMAT + 1}.*newer"),
        (lambda m: m.update(format="1"), "damaged"),
        (lambda m: m.pop("files"), "damaged"),
        (lambda m: m.update(files=[]), "damaged"),
        (lambda m: m["files"].pop("model.safetensors"), "does not list"),
        (lambda m: m["files"].update({"../../etc/passwd": {}}), "lists"),
        (lambda m: m["files"].update({"spec.json": None}), r"spec\.json"),
    ],
)
def test_a_strange_manifest_is_refused(folder: Path, change: Any, said: str) -> None:
    edit_manifest(folder, change)
    with pytest.raises(CheckpointError, match=said):
        load(folder)


@pytest.mark.parametrize("name", ["train.json", "train.safetensors"])
def test_a_file_that_the_manifest_does_not_list_is_not_read(tmp_path: Path, name: str) -> None:
    learner, state = build(CONFIG, spec=SPEC), TrainState(values={"step": 3})
    folder = save(tmp_path / "run", learner=learner, config=CONFIG, spec=SPEC, train_state=state)
    assert open_checkpoint(folder).train_state().values == {"step": 3}
    edit_manifest(folder, lambda m: m["files"].pop(name))
    with pytest.raises(CheckpointError, match="not resumed"):
        open_checkpoint(folder).train_state()


@pytest.mark.parametrize("name", ["model.pt", "model.ckpt", "state.pkl", "rng.npy", "pytorch_model.bin"])
def test_a_pickle_is_refused_unread(folder: Path, tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    alone = tmp_path / name
    alone.write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(CheckpointError, match=f"{name} is a file: a pickle .* never opened"):
        load(alone)
    (folder / name).write_bytes(alone.read_bytes())
    with pytest.raises(CheckpointError, match=f"{name}.*never opened"):
        load(folder)
    assert not marker.exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_pickle_under_another_name_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    forge(folder, name, pickle.dumps(Bomb(marker)))
    with pytest.raises(UserError, match=name):
        load(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"_target_": "os.system", "command": "true"}, r"os\.system"),
        ({"head": {"_target_": "tiny_components.learners.system", "command": "true"}}, "system"),
        ({"hydra": {"run": {"dir": "."}}}, "hydra"),
        ({"name": "${oc.env:HOME}"}, "interpolation"),
        ({"widht": 3}, "did you mean 'width'"),
        ({"_target_": "tiny_components.learners.make_head", "size": 3}, "not a learner"),
    ],
)
def test_a_config_that_does_more_than_say_is_refused(folder: Path, config: dict[str, Any], said: str) -> None:
    if "size" in config or "command" in config:  # not the learner's own arguments
        forge(folder, "config.yaml", yaml.safe_dump(config).encode())
    else:
        forge_config(folder, **config)
    with pytest.raises(ConfigError, match=said):
        load(folder)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**9) + b"{}",
        header({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, bytes(4)),
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)),
        header({"a": {"dtype": "XX", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        header({k: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for k in "ab"}, bytes(4)),
        header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(400)),
        header({}, b"trailing"),
    ],
    ids=[
        "empty",
        "huge header",
        "long header",
        "overflow",
        "wrong size",
        "dtype",
        "overlap",
        "surplus",
        "tail",
    ],
)
def test_hostile_safetensors_are_refused(folder: Path, raw: bytes) -> None:
    forge(folder, "model.safetensors", raw)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load(folder)


def test_weights_of_another_config_are_refused(folder: Path, tmp_path: Path) -> None:
    forge_config(folder, width=5)
    with pytest.raises(CheckpointError, match=r"does not fit.*actor\.0\.weight"):
        load(folder)
    torch.manual_seed(0)
    other = build(
        {**CONFIG, "head": {"_target_": "tiny_components.learners.make_head", "size": 2, "bias": False}},
        spec=SPEC,
    )
    mixed = save(tmp_path / "mixed", learner=other, config=CONFIG, spec=SPEC)
    with pytest.raises(CheckpointError, match=r"critic\.bias"):
        load(mixed)


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"null", b'{"state": 5}', b"[" * 5000])
def test_a_strange_spec_is_refused(folder: Path, raw: bytes) -> None:
    forge(folder, "spec.json", raw)
    with pytest.raises(UserError, match=r"spec\.json"):
        load(folder)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match=r"manifest\.json is missing"):
        load(tmp_path)
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(CheckpointError, match="is a file; a checkpoint is a folder"):
        load(tmp_path / "note.txt")
    (tmp_path / "last").symlink_to("gone")
    with pytest.raises(CheckpointError, match="points to gone"):
        load(tmp_path / "last")
