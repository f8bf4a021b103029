"""A run that is killed, stopped, starved of disk or fed NaN goes on to the same bits, or says why not."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from points import SPEC, STEPS, bits, record, run, stop_at_step
from tiny_components.learners import TinyLearner

from robopolicy.core.checkpoint import load, open_checkpoint
from robopolicy.core.errors import CheckpointError, UserError
from robopolicy.train.log import read_log
from robopolicy.train.trainer import DivergedError


def forked(work: Callable[[], object]) -> int:
    """Do `work` in a process of its own; its id."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            work()
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        finally:
            os._exit(status)
    return pid


def wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_killed_again_and_again_it_ends_with_the_same_bits(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robopolicy.train.log.SHOW_EVERY_S", 0.0)  # report every step
    run(config, tmp_path / "straight")
    rng = random.Random(0)
    killed = 0
    for _ in range(10):
        reader, writer = os.pipe()
        pid = forked(lambda to=writer: run(config, tmp_path / "killed", lambda done, of: os.write(to, b".")))
        os.close(writer)
        for _ in range(rng.randint(1, 10)):  # let it make a few steps, then die anywhere in the next ones
            os.read(reader, 1)
        time.sleep(rng.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        killed += wait(pid) == -signal.SIGKILL
        os.close(reader)
    assert killed >= 5  # or the test has tested nothing
    run(config, tmp_path / "killed")
    assert bits(tmp_path / "killed") == bits(tmp_path / "straight")
    curves = [read_log(tmp_path / name) for name in ("killed", "straight")]
    steps = [[(line["step"], "validation/loss/actor" in line) for line in lines] for lines in curves]
    assert steps[0] == steps[1]  # nothing is logged twice or lost


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_writes_a_checkpoint_and_the_run_goes_on(
    number: int, status: int, config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config, tmp_path / "straight")
    stop_at_step(monkeypatch, 17, number)
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as stopped:
        run(config, tmp_path / "stopped")
    assert stopped.value.code == status
    assert signal.getsignal(number) == before
    assert (tmp_path / "stopped" / "checkpoints" / "last").resolve().name == "step_00000018"
    monkeypatch.undo()
    run(config, tmp_path / "stopped")
    assert bits(tmp_path / "stopped") == bits(tmp_path / "straight")


def test_a_signal_in_the_last_step_is_too_late(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at_step(monkeypatch, STEPS - 1, signal.SIGTERM)
    assert run(config, tmp_path).resolve().name == f"step_{STEPS:08}"


def test_a_second_signal_ends_it_at_once(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at_step(monkeypatch, 17, signal.SIGTERM, signal.SIGTERM)
    assert wait(forked(lambda: run(config, tmp_path))) == -signal.SIGTERM
    assert (tmp_path / "checkpoints" / "last").resolve().name == "step_00000014"


def test_a_finished_run_is_left_alone(config: dict[str, Any], tmp_path: Path) -> None:
    last = run(config, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in last.resolve().iterdir()}
    assert run(config, tmp_path) == last
    assert before == {path: path.stat().st_mtime_ns for path in last.resolve().iterdir()}


def test_a_damaged_newest_checkpoint_costs_one_interval(config: dict[str, Any], tmp_path: Path) -> None:
    run({**config}, tmp_path / "straight")
    run({**config}, tmp_path / "hurt")
    newest = (tmp_path / "hurt" / "checkpoints" / "last").resolve()
    (newest / "model.safetensors").write_bytes(b"")
    run(config, tmp_path / "hurt")
    assert bits(tmp_path / "hurt") == bits(tmp_path / "straight")


def test_a_full_disk_is_reported_and_nothing_is_lost(config: dict[str, Any], tmp_path: Path) -> None:
    run({**config, "steps": 7}, tmp_path / "other")  # imports what a first run imports
    out = tmp_path / "full"

    def starved() -> None:
        def report(done: int, of: int) -> None:
            if (out / "checkpoints" / "last").exists():
                resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            run(config, out, report)
        except UserError as error:
            raise SystemExit(2 if "free some space" in str(error) else 3) from error

    shown = pytest.MonkeyPatch()
    with shown.context() as patch:
        patch.setattr("robopolicy.train.log.SHOW_EVERY_S", 0.0)
        assert wait(forked(starved)) == 2
    assert open_checkpoint(out).train_state().values["step"] == 7
    run({**config}, tmp_path / "straight")
    run(config, out)
    assert bits(out) == bits(tmp_path / "straight")


@pytest.mark.parametrize("where", ["loss", "grad"])
def test_nan_is_skipped_and_logged_and_five_in_a_row_stop_the_run(
    where: str, config: dict[str, Any], tmp_path: Path
) -> None:
    policy = {**config["policy"], "explode_from": 24, "explode_in": where}
    run({**config, "policy": {**policy, "explode_to": 28}}, tmp_path / "some")
    assert read_log(tmp_path / "some")[-2]["skipped"] == 4
    assert "NaN" not in (tmp_path / "some" / "log.jsonl").read_text()
    with pytest.raises(DivergedError, match=r"up to step 29.*last good checkpoint is .*last"):
        run({**config, "policy": policy}, tmp_path / "all")
    for name in ("some", "all"):
        assert all(torch.isfinite(value).all() for value in load(tmp_path / name).state_dict().values())
    assert open_checkpoint(tmp_path / "all").train_state().values["step"] == 28


def test_the_normaliser_is_fitted_and_micro_batches_train_alike(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["policy"] = {**config["policy"], "dropout": 0}
    whole, cut = run(config, tmp_path / "whole"), run({**config, "microbatches": 4}, tmp_path / "cut")
    a, b = load(whole), load(cut)
    assert not torch.equal(a.normalizer.state_scale, torch.ones(2))
    for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True):
        assert torch.allclose(x, y, atol=1e-4)
    losses = [line["loss/actor"] for line in read_log(tmp_path / "whole") if "loss/actor" in line]
    assert losses[-1] < losses[0]


def test_what_is_not_finite_is_not_saved_be_it_a_weight_or_not(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TinyLearner.after

    def after(self: TinyLearner, group: str, step: int) -> None:
        real(self, group, step)
        if step == 17:
            self.normalizer.action_scale[0] = torch.inf  # by which every loss stays finite

    monkeypatch.setattr(TinyLearner, "after", after)
    with pytest.raises(DivergedError, match=r"normalizer.action_scale is not finite at step 21"):
        run(config, tmp_path)


def test_a_run_starts_from_the_weights_of_another(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(config, tmp_path / "first")
    second = {**config, "data": str(record(tmp_path / "other", episodes=3)), "start_from": str(first)}
    second |= {"optim": {"lr": 1e-9}, "checkpoint_every": 1, "steps": 2}
    stop_at_step(monkeypatch, 0, signal.SIGTERM)
    with pytest.raises(SystemExit):
        run(second, tmp_path / "second")
    monkeypatch.undo()
    weights = load(tmp_path / "second").state_dict()
    for name, value in load(first).state_dict().items():
        assert torch.allclose(weights[name], value, atol=1e-3), name
    for change, said in (
        ({"policy": {**config["policy"], "width": 5}}, "does not fit"),
        ({"data": str(record(tmp_path / "far", spec=replace(SPEC, control_hz=20)))}, "control_hz"),
    ):
        with pytest.raises(UserError, match=said):
            run({**second, **change}, tmp_path / said)
    shutil.rmtree(tmp_path / "first")
    begun = open_checkpoint(run(second, tmp_path / "second"))  # which goes on, and needs it no more
    assert begun.provenance["run"]["start_from"] == str(first)
    assert begun.train_state().values["step"] == 2
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        run(second, tmp_path / "third")
