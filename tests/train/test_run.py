"""A run that is killed, stopped, starved of disk or fed NaN goes on to the same bits, or says why not."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_components.learners import TinyLearner

from robopolicy.cli.compose import compose
from robopolicy.core.build import fill
from robopolicy.core.checkpoint import load, open_checkpoint
from robopolicy.core.errors import CheckpointError, ConfigError, UserError
from robopolicy.core.spec import Spec, Vector
from robopolicy.core.types import Episode
from robopolicy.data.writer import DatasetWriter
from robopolicy.train.log import read_log
from robopolicy.train.parallel import train_all
from robopolicy.train.run import train
from robopolicy.train.settings import RunSettings
from robopolicy.train.trainer import DivergedError

SPEC = Spec(
    state=Vector.of({"x": (-1, 1, "1"), "y": (-1, 1, "1")}),
    action=Vector.of({"u": (-1, 1, "1")}),
    control_hz=30.0,
)
STEPS = 60


def record(folder: Path, episodes: int = 6, spec: Spec = SPEC) -> Path:
    rng = np.random.default_rng(0)
    with DatasetWriter(folder, spec=spec) as writer:
        for seed in range(episodes):
            state = rng.uniform(-1, 1, (12, 2)).astype(np.float32)
            writer.append(
                Episode(
                    state=state,
                    action=state[:, :1] * 0.5,
                    reward=np.zeros(12, np.float32),
                    terminated=False,
                    success=False,
                    source=("expert",) * 12,
                    seed=seed,
                )
            )
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("data") / "points")


@pytest.fixture
def config(data: Path) -> dict[str, Any]:
    return {
        "policy": {"_target_": "tiny_components.learners.TinyLearner", "width": 4},
        "data": str(data),
        "steps": STEPS,
        "batch_size": 8,
        "validation": 0.2,
        "log_every": 10,
        "validate_every": 20,
        "checkpoint_every": 7,
        "optim": {"warmup": 3, "groups": {"critic": {"lr": 1e-3}}},
    }


def quiet(done: int, of: int) -> None:
    """Shows nothing."""


def run(config: Mapping[str, Any], out: Path, report: Callable[[int, int], object] = quiet) -> Path:
    return train(config, out, report=report)


def bits(out: Path) -> tuple[bytes, bytes]:
    """All that decides how a run goes on."""
    last = out / "checkpoints" / "last"
    return (last / "model.safetensors").read_bytes(), (last / "train.safetensors").read_bytes()


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


def stop_at_step(monkeypatch: pytest.MonkeyPatch, at: int, *numbers: int) -> None:
    """Send this process signals in the midst of a step."""
    real = TinyLearner.after

    def after(self: TinyLearner, group: str, step: int) -> None:
        real(self, group, step)
        if step == at and group == "critic":
            for number in numbers:
                os.kill(os.getpid(), number)

    monkeypatch.setattr(TinyLearner, "after", after)


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


def test_a_learner_sees_only_the_elements_that_it_was_told_to(config: dict[str, Any], tmp_path: Path) -> None:
    run({**config, "elements": ["y"]}, tmp_path / "run")
    assert load(tmp_path / "run").spec.state.names == ("y",)


def test_phases_change_the_data(config: dict[str, Any], tmp_path: Path) -> None:
    second = record(tmp_path / "second", episodes=3)
    phases = [{"name": "play", "updates": 20}, {"name": "task", "updates": 25, "data": str(second)}]
    config = {**config, "phases": phases}
    run(config, tmp_path / "straight")
    lines = read_log(tmp_path / "straight")
    assert {(line["step"], line["phase"]) for line in lines} >= {(20, "play"), (30, "task"), (45, "task")}

    def report(done: int, of: int) -> None:
        if done > 21:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("robopolicy.train.log.SHOW_EVERY_S", 0.0)
        with pytest.raises(SystemExit):
            run(config, tmp_path / "stopped", report)
    run(config, tmp_path / "stopped")
    assert bits(tmp_path / "stopped") == bits(tmp_path / "straight")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "another 'seed': 0 there, 1 here"),
        ({"optim": {"lr": 1.0}}, "another 'optim'"),
        ({"policy": {"_target_": "tiny_components.learners.TinyLearner", "width": 5}}, "another 'policy'"),
    ],
)
def test_a_run_is_not_continued_as_another(
    change: dict[str, Any], said: str, config: dict[str, Any], tmp_path: Path
) -> None:
    last = run({**config, "steps": 3}, tmp_path)
    with pytest.raises(ConfigError, match=said):
        run({**config, "steps": 3, **change}, tmp_path)
    assert load(last)


def test_data_that_grew_are_not_mistaken_for_the_old(config: dict[str, Any], tmp_path: Path) -> None:
    data = Path(shutil.copytree(config["data"], tmp_path / "data"))
    config = {**config, "data": str(data)}
    run(config, tmp_path / "out")
    with DatasetWriter(data, spec=SPEC) as writer:
        one = np.zeros((4, 2), np.float32)
        writer.append(
            Episode(
                state=one,
                action=one[:, :1],
                reward=one[:, 0],
                terminated=False,
                success=False,
                source=("expert",) * 4,
            )
        )
    with pytest.raises(CheckpointError, match="another output folder"):
        run(config, tmp_path / "out")


def test_two_runs_do_not_share_a_folder(config: dict[str, Any], tmp_path: Path) -> None:
    def second(done: int, of: int) -> None:
        run(config, tmp_path)

    with pytest.raises(UserError, match="is training in"):
        run(config, tmp_path, second)


def test_runs_in_parallel_are_the_runs_alone(config: dict[str, Any], tmp_path: Path) -> None:
    bad = {**config, "batch_size": 9, "microbatches": 2}
    with pytest.raises(UserError, match="bad"):
        train_all({tmp_path / "good": config, tmp_path / "bad": bad}, workers=2)
    run(config, tmp_path / "alone")
    assert bits(tmp_path / "good") == bits(tmp_path / "alone")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"step": 10}, "no parameter 'step'; did you mean 'steps'"),
        ({"batch_size": "8"}, "int is meant"),
        ({"steps": 0}, "at least 1"),
        ({"policy": "flow"}, "Mapping"),
        ({"policy": {"width": 3}}, "_target_"),
        ({"policy": {"_target_": "tiny_components.learners.make_head", "size": 3}}, "does not learn"),
        ({"optim": {"rate": 1}}, "AdamW has no parameter 'rate'"),
        ({"optim": {"groups": {"qq": {}}}}, r"optim.groups names \['qq'\]"),
        ({"optim": {"schedule": "linear"}}, "one of"),
        ({"microbatches": 3}, "must divide"),
        ({"phases": []}, "phases"),
        ({"phases": [{"nme": "a"}]}, "did you mean 'name'"),
        ({"observe": "smell"}, "smell"),
        ({"observe": "pixels"}, "cameras"),
        ({"elements": ["z*"]}, "element of the state"),
        ({"validation": 1.0}, "validation"),
        ({"device": "cuda"}, "no GPU|sees no"),
        ({"data": "/nowhere/at/all"}, "/nowhere/at/all"),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(
    change: dict[str, Any], said: str, config: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        run({**config, **change}, tmp_path / "out")
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_the_yaml_says_the_defaults_of_the_code() -> None:
    written = compose("train", ["data=somewhere"])
    written["policy"] = {}
    settings = fill(RunSettings, written)
    assert settings.optimizers(["policy"]) == RunSettings(policy={}, data="").optimizers(["policy"])
    assert {**settings.binding, "optim": {}} == RunSettings(
        policy={}, data="somewhere", phases=[{"name": "offline"}]
    ).binding
