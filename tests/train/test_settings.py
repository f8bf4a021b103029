"""What a run is told: which data, phases and elements; what is refused; what two runs may not share."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from points import SPEC, bits, record, run

from robopolicy.cli.compose import compose
from robopolicy.core.build import fill
from robopolicy.core.checkpoint import load
from robopolicy.core.errors import CheckpointError, ConfigError, UserError
from robopolicy.core.types import Episode
from robopolicy.data.writer import DatasetWriter
from robopolicy.train.log import read_log
from robopolicy.train.parallel import train_all
from robopolicy.train.settings import RunSettings


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


def test_a_pretrained_models_folder_is_named_for_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    for given, kept in (("./model", str(tmp_path / "model")), ("~/model", "/home/me/model"), ("cnn", "cnn")):
        settings = RunSettings(policy={"vision": given, "text": given}, data="data", observe="all")
        assert settings.policy == settings.binding["policy"] == {"vision": kept, "text": kept}


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
