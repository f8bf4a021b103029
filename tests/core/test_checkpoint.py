"""Checkpoints are complete or absent, whatever happens while one is written."""

from __future__ import annotations

import builtins
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from robopolicy.core import checkpoint
from robopolicy.core.build import build
from robopolicy.core.checkpoint import Checkpoint, Checkpoints, TrainState, load, open_checkpoint, save
from robopolicy.core.errors import CheckpointError
from robopolicy.core.learner import Learner
from robopolicy.core.spec import Spec, Vector

SPEC = Spec(
    state=Vector.of({"a": (-1, 1, "1"), "b": (float("-inf"), 1, "1")}),
    action=Vector.of({"u": (-1, 1, "1")}),
    control_hz=30.0,
)
CONFIG = {"_target_": "tiny_components.learners.TinyLearner", "width": 3, "horizons": [2], "dropout": 1e-5}


def learner(seed: int = 0) -> Learner:
    torch.manual_seed(seed)
    return build(CONFIG, spec=SPEC)


def write(root: Path, step: int) -> Path:
    state = TrainState(tensors={"moment": torch.full((2,), float(step))}, values={"step": step})
    return Checkpoints(root).save(
        step, learner=learner(step), config=CONFIG, spec=SPEC, run={"task": "a/b"}, train_state=state
    )


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    before = learner(3)
    before.normalizer.state_scale.fill_(7.0)
    folder = save(tmp_path / "deep" / "one", learner=before, config=CONFIG, spec=SPEC)
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    after = load(folder)
    assert torch.equal(torch.rand(3), expected)  # loading draws nothing from the caller's generator
    assert same(before, after)
    assert not after.training
    assert after.spec == SPEC
    found = open_checkpoint(folder)
    assert found.config == CONFIG
    assert found.task is None
    with pytest.raises(CheckpointError, match="weights only"):
        found.train_state()


def test_tied_weights_and_repeated_settings_survive(tmp_path: Path) -> None:
    tied = learner()
    tied.average[0].weight = tied.actor[0].weight
    again = [2]
    save(tmp_path / "a", learner=tied, config={**CONFIG, "horizons": again, "name": None}, spec=SPEC)
    assert same(tied, load(tmp_path / "a"))


def test_an_existing_folder_is_never_overwritten(tmp_path: Path) -> None:
    save(tmp_path / "a", learner=learner(), config=CONFIG, spec=SPEC)
    with pytest.raises(CheckpointError, match="exists already"):
        save(tmp_path / "a", learner=learner(1), config=CONFIG, spec=SPEC)
    assert same(learner(), load(tmp_path / "a"))


def test_a_run_keeps_the_newest_and_points_at_it(tmp_path: Path) -> None:
    for step in (1, 2, 30):
        write(tmp_path / "checkpoints", step)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"step_00000002", "step_00000030", "last"}
    for path in (tmp_path, tmp_path / "checkpoints", tmp_path / "checkpoints" / "last"):
        assert same(load(path), learner(30))
        assert open_checkpoint(path).task == "a/b"


def damage(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def test_a_damaged_newest_gives_way_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "checkpoints"
    write(root, 1)
    damage(write(root, 2) / "model.safetensors")
    assert same(load(tmp_path), learner(1))
    assert "model.safetensors is damaged" in caplog.text
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):  # this one, by its own name
        load(root / "step_00000002")
    newest = Checkpoints(root).recover()
    assert newest is not None
    assert newest.path.name == "step_00000001"
    assert (root / "last").resolve() == newest.path
    write(root, 2)  # its name is free again, and the damaged one is still there to be looked at
    assert (root / "damaged_step_00000002").is_dir()
    assert same(load(tmp_path), learner(2))


def test_all_damaged_is_an_error_not_a_fresh_start(tmp_path: Path) -> None:
    damage(write(tmp_path, 1) / "spec.json")
    with pytest.raises(CheckpointError, match=r"spec\.json"):
        Checkpoints(tmp_path).recover()
    assert Checkpoints(tmp_path / "empty").recover() is None


class Killed(BaseException):
    """Ends a save as a kill would: no handler of errors may see it."""


OPERATIONS: list[tuple[Any, str]] = [
    (os, "mkdir"),
    (os, "rename"),
    (os, "replace"),
    (os, "symlink"),
    (os, "fsync"),
    (os, "rmdir"),
    (os, "unlink"),
    (builtins, "open"),
    (checkpoint, "_write"),
]


class Fault:
    """Counts file operations, and fails at one of them; a file being written is left cut short."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException | None) -> None:
        self.count, self.at, self.error = 0, at, error
        for module, name in OPERATIONS:
            monkeypatch.setattr(module, name, self.wrap(getattr(module, name), name), raising=False)

    def wrap(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def operation(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count - 1 == self.at and self.error is not None:
                if name == "_write":
                    Path(args[0]).write_bytes(args[1][: len(args[1]) // 2])
                raise self.error
            return real(*args, **kwargs)

        return operation


def count_operations(root: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    with monkeypatch.context() as patch:
        fault = Fault(patch, at=-1, error=None)
        write(root, 3)
    return fault.count


def outcome(function: Callable[[], object]) -> str:
    """What a call says that failed, or nothing."""
    try:
        function()
    except (Killed, CheckpointError) as error:
        return str(error)
    return ""


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """Two checkpoints, so that a third also deletes one."""
    for step in (1, 2):
        write(tmp_path / "begun", step)
    return tmp_path / "begun"


@pytest.mark.parametrize("kind", ["killed", "disk full"])
def test_a_fault_at_any_file_operation_leaves_a_complete_checkpoint(
    kind: str, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = count_operations(Path(shutil.copytree(begun, tmp_path / "count", symlinks=True)), monkeypatch)
    assert total > 30
    newest = set()
    for at in range(total):
        root = Path(shutil.copytree(begun, tmp_path / f"fault_{at}", symlinks=True))
        error = Killed("killed") if kind == "killed" else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with monkeypatch.context() as patch:
            Fault(patch, at, error)
            said = outcome(lambda root=root: write(root, 3))
        if kind == "disk full" and said:
            assert "No space left" in said
            assert not list(root.glob(".step_00000003*"))  # what was half written is gone
        step = open_checkpoint(root / "last").train_state().values["step"]
        assert step in ((2, 3) if said else (3,))  # never success without a file
        newest.add(step)
        for folder in root.glob("step_*"):  # complete or absent
            Checkpoint.open(folder)
        recovered = Checkpoints(root).recover()
        assert recovered is not None
        assert recovered.train_state().values["step"] == step
        assert same(load(root), learner(step))
        assert (root / "last").resolve() == recovered.path
        assert not [path for path in root.iterdir() if path.name.startswith(".")]
        if step == 2:
            write(root, 3)  # nothing stands in the way of going on
        assert same(load(root), learner(3))
    assert newest == {2, 3}


def test_a_real_full_disk_is_reported(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    write(tmp_path, 1)
    pid = os.fork()
    if pid == 0:  # the limit on file sizes holds for the whole process, so it is a child's
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
        try:
            write(tmp_path, 2)
        except CheckpointError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last", "step_00000001"]
    assert Checkpoint.open(tmp_path / "step_00000001").train_state().values["step"] == 1
