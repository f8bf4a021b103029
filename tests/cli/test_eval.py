"""Policies and their training seeds on the command line, and what is said of them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from robopolicy.cli.compose import split
from robopolicy.cli.sources import policies_of, set_apart
from robopolicy.core import suites
from robopolicy.core.build import build
from robopolicy.core.checkpoint import Checkpoints
from robopolicy.core.errors import ConfigError
from robopolicy.core.learner import Learner

TASK = "tabletop/reach"
SHORT = ("episodes=2", "max_steps=3", "workers=1", "films=0")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two policies of two training seeds each, as they begin."""
    root = tmp_path_factory.mktemp("runs")
    env = suites.make_env(TASK, observe="state")
    for name, horizon in (("long", 4), ("short", 2)):
        config = {
            "_target_": "robopolicy.policies.gaussian.GaussianPolicy",
            "horizon": horizon,
            "hidden": [4],
        }
        for seed in (1, 2):
            torch.manual_seed(seed)
            learner = build(config, spec=env.spec)
            assert isinstance(learner, Learner)
            run = {"task": TASK, "seed": seed}
            checkpoints = Checkpoints(root / name / f"seed_{seed}" / "checkpoints")
            checkpoints.save(1, learner=learner, config=config, spec=env.spec, run=run)
    env.close()
    return root


def test_words_name_policies_and_their_training_seeds(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("flow/seed_1", "flow/seed_2", "act", "a,b=c"):
        (tmp_path / "runs" / name / "checkpoints").mkdir(parents=True)
    (tmp_path / "runs" / "flow" / "latest").symlink_to("seed_2")
    (tmp_path / "runs" / "flow" / "test-states").mkdir()
    seeds = ["runs/flow/seed_1", "runs/flow/seed_2"]
    joined = ",".join(seeds)
    for words, expected in (
        (["runs/flow", "runs/act/"], {"flow": seeds, "act": ["runs/act/"]}),
        (
            [f"ours={joined}", "runs/act/checkpoints/last"],
            {"ours": seeds, "act": ["runs/act/checkpoints/last"]},
        ),
        ([joined], {"seed_1,seed_2": seeds}),
        (["old=runs/gone", "runs/a,b=c"], {"old": ["runs/gone"], "a,b=c": ["runs/a,b=c"]}),
        (["runs/act", "old/act"], {"runs/act": ["runs/act"], "old/act": ["old/act"]}),
    ):
        given = set_apart(split([*words, "task=a/b", "env.noise=runs/act"]), keys={"task": None, "env": {}})
        assert given.overrides == ("task=a/b", "env.noise=runs/act")
        assert dict(sorted(policies_of(given.positional).items())) == dict(sorted(expected.items()))
    with pytest.raises(ConfigError, match="the name x is given more than once"):
        policies_of(["x=runs/act", "x=runs/flow"])
    assert set_apart(split(["epsodes=3"]), keys={"episodes": 1}).overrides == ("epsodes=3",)


def test_policies_are_compared_where_that_is_asked_for(cli, runs) -> None:
    one, other = (str(runs / name / "seed_1") for name in ("long", "short"))
    done = cli("eval", f"one={one}", f"other={other}", *SHORT, "output=listed")
    assert done.status == 0, done.err
    assert "one - other" not in done.out
    assert json.loads(Path("listed/results.json").read_text())["comparisons"] == []
    done = cli("eval", f"one={one}", f"other={other}", *SHORT, "output=listed", "--compare")
    assert re.search(r"one - other +[+-]\d\.\d{3} .* p = \S+ \(exact McNemar, Holm\)", done.out), done
    (pair,) = json.loads(Path("listed/results.json").read_text())["comparisons"]
    assert (pair["a"], pair["b"]) == ("one", "other")


def test_training_seeds_are_grouped_and_compared_as_methods(cli, runs) -> None:
    long, short = (str(runs / name) for name in ("long", "short"))
    done = cli("eval", long, f"brief={short}/seed_1,{short}/seed_2", "--compare", *SHORT, "output=found")
    assert done.status == 0, done.err
    raw = json.loads(Path("found/results.json").read_text())
    assert {name: found["episodes"] for name, found in raw["policies"].items()} == {"long": 4, "brief": 4}
    (pair,) = raw["comparisons"]
    assert len(pair["per_seed"]) == 2
    assert pair["p_value"] is None
    assert re.search(r"long - brief .* training seeds: \S+ \S+$", done.out, flags=re.M)
    page = Path("found/report.html").read_text()
    assert page.count("training seeds: ") == 3  # two policies and their difference
    held = [Path(path) for path in raw["protocol"]["policies"]["brief"]]
    assert [path.parent.parent.name for path in held] == ["seed_1", "seed_2"]
    assert {path.name for path in held} == {"step_00000001"}  # which checkpoint it was, not `last`


def test_a_group_of_tasks_is_evaluated_task_by_task_and_as_one(cli, mistake, runs, monkeypatch) -> None:
    grouped = replace(suites.find(TASK)[0], groups={"two": ("reach", "button")})
    monkeypatch.setitem(suites.suites()[0], "tabletop", grouped)
    long, short = (str(runs / name / "seed_1") for name in ("long", "short"))
    done = cli("eval", f"a={long}", f"b={short}", "--compare", *SHORT, "task=tabletop/two", "output=found")
    assert done.status == 0, done.err
    assert re.search(r"^task +a +b\ntabletop/reach +0.000 +0.000\ntabletop/button +0.000 +0.000\n", done.out)
    raw = json.loads(Path("found/results.json").read_text())
    assert raw["protocol"]["task"] == "tabletop/two"
    assert raw["policies"]["a"]["episodes"] == 4
    assert len(raw["comparisons"]) == 1
    for task in ("reach", "button"):
        part = json.loads(Path(f"found/{task}/results.json").read_text())
        assert (part["protocol"]["task"], part["policies"]["a"]["episodes"]) == (f"tabletop/{task}", 2)
        assert Path(f"found/{task}/report.html").exists()
    said = mistake("eval", long, short, "--compare", "task=tabletop/two", "episodes=2", "looks=[1,2]")
    assert "looks are for one task; tabletop/two stands for 2" in said


def test_an_evaluation_is_shown_as_a_page_and_as_a_recording(cli, mistake, runs) -> None:
    log = runs / "long" / "seed_1" / "log.jsonl"
    log.write_text('{"step": 1, "loss/policy": 2.0}\n{"step": 2, "loss/policy": 1.0}\n{"step": 3, "lo')
    assert cli("eval", str(runs / "long"), *SHORT, "output=found").status == 0
    assert 'class="strip"' not in Path("found/report.html").read_text()
    for name in ("page.html", "films.rrd"):
        done = cli("view", "found", "films=2", f"output={name}")
        assert done.status == 0, done.err
    page = Path("page.html").read_text()
    assert page.count('class="strip"') == 2
    assert "<h2>Learning" in page
    assert Path("films.rrd").stat().st_size > 1000
    assert "films=" in mistake("view", "found", "episodes=[1]")
    assert "films is -1" in mistake("view", "found", "films=-1")
    assert "films is -1" in mistake("eval", str(runs / "long"), "films=-1", "output=other")
    assert not Path("other").exists()


def test_seeds_that_cannot_be_one_policy_or_a_pair(mistake, runs) -> None:
    long, short = (str(runs / name) for name in ("long", "short"))
    assert "differ by more than their training seed" in mistake("eval", f"{long}/seed_1,{short}/seed_1")
    assert "more than once" in mistake("eval", f"a={long}/seed_1,{long}/seed_1")
    assert "twice" in mistake("eval", f"a={long}/seed_1,{long}/seed_1/checkpoints/last")
    assert "2 and 1 training seeds" in mistake("eval", long, f"{short}/seed_1", "--compare")
    assert "compare two" in mistake("eval", f"{long}/seed_1", f"{short}/seed_1", "looks=[100]")
    assert "no checkpoint" in mistake("eval", "flow=runs/gone", f"task={TASK}")
    assert "no key 'epsodes'" in mistake("eval", f"{long}/seed_1", "epsodes=3")
