from __future__ import annotations

import errno
import importlib
import subprocess
import sys

import pytest

from robopolicy.cli.compose import compose, launch, split
from robopolicy.cli.main import COMMANDS
from robopolicy.core.build import fill
from robopolicy.data.lerobot import open_dataset
from robopolicy.policies.gaussian import GaussianPolicy
from robopolicy.train.settings import RunSettings


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(cli, command) -> None:
    done = cli(command, "--help")
    assert done.status == 0
    assert done.out.startswith(f"usage: robopolicy {command}")


def test_help_names_every_command(cli) -> None:
    assert all(f"\n  {command} " in cli("--help").out for command in COMMANDS)


def test_near_commands_options_and_keys_are_shown(mistake) -> None:
    assert "did you mean 'collect'" in mistake("colect")
    assert "'--compare'" in mistake("eval", "a", "--comparse")
    assert "no key 'epsodes'; did you mean 'episodes'" in mistake("collect", "epsodes=3")
    assert "usage: robopolicy eval" in mistake("eval")


def test_an_interrupted_import_is_an_interrupt(cli, monkeypatch) -> None:
    def import_module(name: str) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("the extension is broken") from error  # as scipy does

    monkeypatch.setattr(importlib, "import_module", import_module)
    done = cli("list")
    assert (done.status, done.err) == (130, "interrupted\n")


@pytest.mark.parametrize("command", ["collect", "list"])
def test_a_working_directory_that_is_gone(mistake, tmp_path, command) -> None:
    tmp_path.rmdir()
    assert "the working directory is gone" in mistake(command)


def test_what_may_not_be_read_is_named(mistake, monkeypatch) -> None:
    def import_module(name: str) -> None:  # root, who may run this, is refused no file
        raise PermissionError(errno.EACCES, "Permission denied", "data/meta")

    monkeypatch.setattr(importlib, "import_module", import_module)
    assert "data/meta: Permission denied; change who may use it" in mistake("view", "data")


def test_words_are_sorted(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=3").mkdir()
    words = split(["runs/a", "lr=3", "++task=x/y", "~policy", "-m", "policy.width=4"])
    assert words.positional == ("runs/a", "lr=3")  # a path that exists is a path
    assert words.overrides == ("++task=x/y", "~policy", "policy.width=4")
    assert words.flags == {"-m"}


def test_arguments_that_the_yaml_does_not_show_reach_the_constructor() -> None:
    assert compose("train", ["policy.made_up=4"])["policy"]["made_up"] == 4  # the builder checks the name
    assert compose("collect", ["env={action_mode: ee}", "expert.noise=1"])["env"] == {"action_mode": "ee"}


def test_a_node_can_be_given_whole() -> None:
    node = {"_target_": "robopolicy.policies.gaussian.GaussianPolicy", "horizon": 4}
    words = ["policy={_target_: robopolicy.policies.gaussian.GaussianPolicy}", "policy.horizon=4"]
    assert compose("train", words)["policy"] == node  # and nothing of the flow policy's
    assert compose("train", ["optim={lr: 1e-5}"])["optim"] == {"lr": 1e-5}
    assert compose("quickstart", ["demonstrations={poor: 5}"])["demonstrations"] == {"poor": 5}


def test_phases_can_be_given_as_a_list() -> None:
    phases = [{"updates": 1000}, {"name": "task", "data": "b"}]
    words = ["data=a", "steps=5", "phases=[{updates: 1000}, {name: task, data: b}]"]
    config = compose("train", words)
    assert config["phases"] == phases
    assert [(end, phase.name) for end, phase in fill(RunSettings, config).timeline] == [
        (1000, "1"),
        (1005, "task"),
    ]
    assert compose("train", ["phases=offline"])["phases"] == [{"name": "offline"}]
    assert compose("train", ["phases=[offline]"])["phases"] == [{"name": "offline"}]


def test_paths_beyond_ascii_and_with_spaces(cli) -> None:
    words = ["task=tabletop/reach", "episodes=1", "workers=1", "output=démo dir/élan"]
    assert cli("collect", *words).status == 0
    assert open_dataset("démo dir/élan").num_episodes == 1
    done = cli("view", "démo dir/élan")  # of as many episodes as there are
    assert done.status == 0, done.err


def test_composition_is_plain_and_leaves_hydra_behind() -> None:
    config = compose("collect", ["episodes=3"])
    assert config["episodes"] == 3
    assert "hydra" not in config


def test_a_strangers_sim_is_named(tmp_path) -> None:
    (tmp_path / "sim").mkdir()
    (tmp_path / "sim" / "__init__.py").touch()
    code = "import sys; from robopolicy.cli.main import main; sys.exit(main(['list']))"
    env = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert str(tmp_path / "sim") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweep_runs_each_combination_and_ends_with_2_on_a_mistake(tmp_path) -> None:
    words = ["collect", "task=tabletop/reach", "episodes=1", "workers=1", "quality=expert,exprt"]
    words += ["env.time_limit=2,3", "-m"]
    command = [sys.executable, "-m", "robopolicy.cli.main", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    (first,) = tmp_path.glob("multirun/*/*/quality_expert/env.time_limit_2")
    assert open_dataset(first).num_episodes == 1
    assert done.returncode == 2
    assert "no quality 'exprt'; did you mean 'expert'" in done.stderr
    unknown = [*command[:3], "train", "policy=flow,flwo", "data=x", "-m"]
    done = subprocess.run(unknown, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "no policy 'flwo'" in done.stderr
    assert "Traceback" not in done.stderr


def test_each_job_of_a_sweep_has_a_folder_of_its_own(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    jobs: list[str] = []
    words = ["seed=0,1", "task=a/b,c/d", "episodes=1", "output=out", "-m"]
    launch("collect", split(words), lambda config: jobs.append(config["output"]))
    assert jobs == [f"out/task_{task}/seed_{seed}" for seed in (0, 1) for task in ("a_b", "c_d")]
    launch("eval", split(["output=e,f", "-m"]), lambda config: jobs.append(config["output"]), "policies=[a]")
    assert jobs[4:] == ["e", "f"]
    assert (tmp_path / "out" / "multirun.yaml").is_file()


def test_a_learner_that_raises_breaks_its_promises(cli, monkeypatch) -> None:
    def losses(*_) -> None:
        raise KeyError("mean")

    monkeypatch.setattr(GaussianPolicy, "losses", losses)
    done = cli("check", "gaussian")
    assert done.status == 1
    for line in (
        "ok      states: it_is_built",
        f"BROKEN  states: losses_are_finite: KeyError: 'mean' ({__file__}, line ",
        "BROKEN  images: samples_are_well_formed: KeyError: 'mean'",
        "promise(s) broken",
    ):
        assert line in done.out


def test_an_evaluation_writes_its_page(cli, tmp_path) -> None:
    collect = ["task=tabletop/reach", "episodes=2", "workers=1", "output=data"]
    assert cli("collect", *collect).status == 0
    assert cli("train", "data=data", "steps=1", "batch_size=4", "output=run").status == 0
    done = cli("eval", "run", "episodes=1", "workers=1", "max_steps=5", "output=found")
    assert done.status == 0, done.err
    page = (tmp_path / "found" / "report.html").read_text()
    assert "Success" in page
    assert 'class="strip"' in page  # a film
