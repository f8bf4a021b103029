import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from pointmass import SPEC, PointMass, ToGoal, make_long

from robopolicy.control.loop import run_episodes
from robopolicy.control.record import Replay
from robopolicy.core import checkpoint, provenance
from robopolicy.core.errors import ConfigError, SpecMismatchError, UnknownNameError, UserError
from robopolicy.core.spec import Spec
from robopolicy.core.suites import COLLECTION, SPLITS
from robopolicy.evaluate.blocks import block_path, read_block
from robopolicy.evaluate.results import Results
from robopolicy.evaluate.rollout import evaluate
from robopolicy.evaluate.seeds import seeds_of
from robopolicy.evaluate.worker import Protocol
from robopolicy.policies.gaussian import GaussianPolicy

LONG = Protocol(task=make_long)


def outcomes(results: Results) -> dict:
    """All but what the clock on the wall says."""
    return {
        name: [[replace(record, wall_s=0.0) for record in run] for run in runs]
        for name, runs in results.records.items()
    }


def good() -> ToGoal:
    return ToGoal(shake=0.2)


def bad() -> ToGoal:
    return ToGoal(skill=0.2, shake=0.2)


@pytest.fixture
def saved(tmp_path):
    config = {"_target_": "robopolicy.policies.gaussian.GaussianPolicy", "horizon": 4, "hidden": [8]}
    policy = GaussianPolicy(spec=SPEC, horizon=4, hidden=[8])
    return checkpoint.save(tmp_path / "policy", learner=policy, config=config, spec=SPEC)


def test_one_worker_and_two_give_the_same_bits(saved):
    policies = {"good": good(), "saved": saved}
    one = evaluate(policies, LONG, episodes=25, workers=1)
    two = evaluate(policies, LONG, episodes=25, workers=2)
    assert outcomes(one) == outcomes(two)
    assert len({record.total_reward for record in one.records["good"][0]}) == 25


def test_policies_in_this_process_with_envs_in_others_give_the_same_bits():
    """The path of a GPU, on a CPU by another name."""
    here = evaluate({"good": good()}, LONG, episodes=13)
    apart = evaluate({"good": good()}, replace(LONG, device="cpu:0"), episodes=13, workers=2)
    assert outcomes(here) == outcomes(apart)


def test_results_do_not_depend_on_how_many_episodes_were_asked_for_or_who_else_was_there():
    few = evaluate({"good": good()}, LONG, episodes=13)
    many = evaluate({"bad": bad(), "good": good()}, LONG, episodes=20)
    assert outcomes(few)["good"][0] == outcomes(many)["good"][0][:13]


def test_results_json_holds_what_others_count_on(tmp_path):
    seen = []
    evaluate(
        {"good": good(), "bad": bad()},
        LONG,
        episodes=20,
        split="test",
        out=tmp_path,
        progress=lambda done, total: seen.append((done, total)),
    )
    raw = json.loads((tmp_path / "results.json").read_text())
    assert list(raw["policies"]) == ["good", "bad"]
    for policy in raw["policies"].values():
        assert set(policy) == {"success", "interval", "episodes", "seeds", "latency_ms"}
        assert policy["interval"][0] <= policy["success"] <= policy["interval"][1]
        assert policy["episodes"] == len(policy["seeds"]) == 20
        assert policy["seeds"][0] == SPLITS["test"].start
        assert 0 < policy["latency_ms"]["p50"] <= policy["latency_ms"]["p95"] <= policy["latency_ms"]["p99"]
    (comparison,) = raw["comparisons"]
    assert (comparison["a"], comparison["b"]) == ("good", "bad")
    assert comparison["difference"] == pytest.approx(
        raw["policies"]["good"]["success"] - raw["policies"]["bad"]["success"]
    )
    assert comparison["difference"] > 0.5
    assert comparison["interval"][0] > 0
    assert comparison["p_value"] == comparison["p_holm"] < 0.01
    assert raw["provenance"]["versions"]["robopolicy"]
    assert seen == [(0, 40), (10, 40), (20, 40), (30, 40), (40, 40)]


def test_an_interrupted_evaluation_goes_on_where_it_stopped(saved, tmp_path, monkeypatch):
    whole = evaluate({"saved": saved}, LONG, episodes=25)

    class KilledError(Exception): ...

    def interrupt(done: int, total: int) -> None:
        if done == 20:
            raise KilledError

    with pytest.raises(KilledError):
        evaluate({"saved": saved}, LONG, episodes=25, out=tmp_path / "eval", progress=interrupt)
    first, second = (block_path(tmp_path / "eval", "saved", 0, SPLITS["dev"].start + k) for k in (0, 10))
    second.with_suffix(".npy").write_bytes(b"cut short")
    stamp = first.stat().st_mtime_ns
    again = evaluate({"saved": saved}, LONG, episodes=25, out=tmp_path / "eval")
    assert outcomes(again) == outcomes(whole)
    assert first.stat().st_mtime_ns == stamp
    # another protocol is another evaluation
    other = evaluate({"saved": saved}, replace(LONG, execute=1), episodes=25, out=tmp_path / "eval")
    assert first.stat().st_mtime_ns > stamp
    assert outcomes(other) != outcomes(whole)
    # and so is other code, committed or not
    stamp = first.stat().st_mtime_ns
    monkeypatch.setattr(provenance, "code", lambda: "edited")
    evaluate({"saved": saved}, replace(LONG, execute=1), episodes=25, out=tmp_path / "eval")
    assert first.stat().st_mtime_ns > stamp


def test_a_training_that_goes_on_beside_does_not_change_who_is_evaluated(tmp_path):
    config = {"_target_": "robopolicy.policies.gaussian.GaussianPolicy", "horizon": 4, "hidden": [8]}
    checkpoints = checkpoint.Checkpoints(tmp_path / "run" / "checkpoints")

    def save(step: int) -> None:
        torch.manual_seed(step)
        learner = GaussianPolicy(spec=SPEC, horizon=4, hidden=[8])
        checkpoints.save(step, learner=learner, config=config, spec=SPEC)

    def overtake(done: int, total: int) -> None:
        if done == 0:
            save(2)

    save(1)
    alone = evaluate({"run": checkpoints.root / "step_00000001"}, LONG, episodes=10)
    beside = evaluate({"run": tmp_path / "run"}, LONG, episodes=10, progress=overtake)
    assert outcomes(beside) == outcomes(alone)
    assert beside.protocol["policies"] == {"run": [str(checkpoints.root / "step_00000001")]}
    assert outcomes(evaluate({"run": tmp_path / "run"}, LONG, episodes=10)) != outcomes(alone)


def test_two_evaluations_do_not_share_a_folder(tmp_path):
    def second(done: int, total: int) -> None:
        evaluate({"good": good()}, LONG, episodes=1, out=tmp_path)

    with pytest.raises(UserError, match=f"is evaluating in {tmp_path}"):
        evaluate({"good": good()}, LONG, episodes=1, out=tmp_path, progress=second)
    assert evaluate({"good": good()}, LONG, episodes=1, out=tmp_path).policies  # it is free again


def test_a_kept_block_replays_to_the_recorded_episodes(tmp_path):
    results = evaluate({"good": good()}, LONG, episodes=10, out=tmp_path)
    _, block = read_block(block_path(tmp_path, "good", 0, SPLITS["dev"].start))
    seeds = [record.seed for record in block.records]
    again = run_episodes([PointMass() for _ in seeds], Replay(block.actions), seeds)
    for outcome, record in zip(again, results.records["good"][0], strict=True):
        assert (outcome.success, outcome.length) == (record.success, record.length)
        assert outcome.total_reward == record.total_reward


def test_training_seeds_are_kept_apart_from_states():
    results = evaluate({"good": [good(), ToGoal(skill=0.97)], "bad": [bad(), bad()]}, LONG, episodes=10)
    assert results.policies["good"].episodes == 20
    (comparison,) = results.comparisons
    assert len(comparison.per_seed) == 2
    assert comparison.p_value is None  # McNemar is for one checkpoint against one
    assert comparison.difference == pytest.approx(np.mean(comparison.per_seed))
    with pytest.raises(ConfigError, match="cannot be paired"):
        evaluate({"good": [good(), good()], "bad": bad()}, LONG, episodes=10)


def test_a_comparison_stops_at_the_look_that_decides_it():
    looks = {"good": good(), "bad": ToGoal(skill=0.0)}
    results = evaluate(looks, LONG, episodes=60, looks=(20, 40, 60))
    assert results.stopped is not None
    assert results.policies["good"].episodes == results.stopped["episodes"] < 60
    same = evaluate({"one": good(), "two": good()}, LONG, episodes=20, looks=(10, 20))
    assert same.stopped is None
    assert same.comparisons[0].difference == 0
    with pytest.raises(ConfigError, match="end of a block"):
        evaluate(looks, LONG, episodes=20, looks=(5, 20))
    with pytest.raises(ConfigError, match="exactly two"):
        evaluate({"one": good()}, LONG, episodes=20, looks=(20,))


def test_latency_in_ticks_is_counted_and_costs_success():
    prompt = evaluate({"good": ToGoal()}, LONG, episodes=10)
    late = evaluate({"good": ToGoal()}, replace(LONG, latency_ticks=3), episodes=10)
    assert all(record.underruns == 0 for record in prompt.records["good"][0])
    assert all(record.underruns > 0 for record in late.records["good"][0])
    assert sum(r.length for r in late.records["good"][0]) > sum(r.length for r in prompt.records["good"][0])


@pytest.mark.parametrize("workers", [1, 2])
def test_what_does_not_fit_is_said(workers):
    stranger = good()
    stranger.spec = Spec(state=SPEC.state, action=SPEC.action, control_hz=50)
    error = SpecMismatchError if workers == 1 else Exception
    with pytest.raises(error, match="control_hz: the policy has 50"):
        evaluate({"stranger": stranger}, LONG, episodes=20, workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_checkpoint_that_diverged_is_named(tmp_path, saved, workers):
    whole = checkpoint.open_checkpoint(saved)
    learner = whole.learner()
    for parameter in learner.parameters():
        parameter.data.fill_(float("nan"))
    path = checkpoint.save(tmp_path / "diverged", learner=learner, config=whole.config, spec=whole.spec)
    with pytest.raises(UserError, match=rf"policy 'a' \({path}\): the action is \[nan nan\]"):
        evaluate({"a": path}, LONG, episodes=20, workers=workers)


def test_names_that_look_alike_on_disk_are_kept_apart(tmp_path):
    names = ["a/b", "a_b", "a:b", "x" * 300, "y" + "x" * 300, "..", "runs/train/last"]
    paths = {block_path(tmp_path, name, 0, 7) for name in names}
    assert len(paths) == len(names)
    assert {path.parent.parent for path in paths} == {tmp_path / "episodes"}
    assert max(len(path.parent.name) for path in paths) < 100


def test_splits_are_disjoint_and_named():
    ranges = sorted([COLLECTION, *SPLITS.values()], key=lambda seeds: seeds.start)
    assert all(before.stop <= after.start for before, after in pairwise(ranges))
    assert list(seeds_of("test", 3)) == [2_000_000, 2_000_001, 2_000_002]  # what every score was measured on
    with pytest.raises(ConfigError, match="episodes is"):
        seeds_of("dev", 1_000_001)
    with pytest.raises(UnknownNameError, match="did you mean 'test'"):
        seeds_of("tset", 1)
    with pytest.raises(UnknownNameError, match="dev chooses settings, test states results"):
        seeds_of("collect", 1)
