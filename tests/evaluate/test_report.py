import base64
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from pointmass import PointMass, ToGoal, make_long

from robopolicy.core.errors import ConfigError
from robopolicy.core.suites import make_env
from robopolicy.evaluate.film import Film, film, films, reels
from robopolicy.evaluate.report import StageLine, write_report
from robopolicy.evaluate.results import read_results
from robopolicy.evaluate.rollout import evaluate
from robopolicy.evaluate.sketch import draw
from robopolicy.evaluate.worker import Protocol


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    out = tmp_path_factory.mktemp("eval")
    evaluate(
        {"good": ToGoal(shake=0.2), "a<b>": ToGoal(skill=0.3)}, Protocol(task=make_long), episodes=12, out=out
    )
    return out


def test_reels_are_the_first_success_and_failures_and_replay_faithfully(evaluated):
    runs = read_results(evaluated)["runs"]
    for failures, most in ((3, {True: 1, False: 3}), (1, {True: 1, False: 1}), (0, {True: 0, False: 0})):
        found = reels(evaluated, failures=failures)
        for name in ("good", "a<b>"):
            for success in (True, False):
                seeds = [each["seed"] for each in runs[name][0]["episodes"] if each["success"] == success]
                filmed = [r.record.seed for r in found if (r.name, r.record.success) == (name, success)]
                assert filmed == seeds[: most[success]]
    made = films(evaluated, PointMass(), count=4)
    assert len(made) == len(reels(evaluated, failures=3)) >= 5
    for each in made:
        assert each.faithful
        assert each.drawn
        assert each.times[0] == 0
        assert each.times[-1] == pytest.approx(each.record.length / 30)
        assert each.text == "reach the goal"
    # of an episode in the second block, too
    late = [r for r in reels(evaluated, failures=12) if r.record.seed >= 1_000_010]
    assert late
    assert all(film(PointMass(), reel).faithful for reel in late)
    broken = replace(late[0], actions=np.zeros_like(late[0].actions)) if late[0].record.success else None
    assert broken is None or not film(PointMass(), broken).faithful


def test_what_another_evaluation_left_is_not_taken_for_this_one(tmp_path):
    policies = {"good": ToGoal(shake=0.2)}
    evaluate(policies, Protocol(task=make_long, block_rows=2), episodes=6, out=tmp_path)  # leaves 0, 2, 4
    evaluate(policies, Protocol(task=make_long, block_rows=6, execute=1), episodes=6, out=tmp_path)
    assert all(film(PointMass(), reel).faithful for reel in reels(tmp_path, failures=6))

    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(policies, Protocol(task=make_long), episodes=6, out=tmp_path, progress=interrupt)
    with pytest.raises(ConfigError, match=r"not hold the actions of 'good', seed 1000000.*evaluate again"):
        reels(tmp_path)


def test_the_report_is_one_page_that_holds_everything(evaluated, tmp_path):
    lines = [{"step": 10 * i, "time": 0.0, "loss/policy": 1 / (i + 1), "lr/policy": 1.0} for i in range(20)]
    lines += [{"step": 200, "validation/loss/policy": 0.3}]
    results = read_results(evaluated)
    made = films(evaluated, PointMass())
    evil = Film(**{**vars(made[0]), "text": '<script>alert("1")</script>'})
    stages = [StageLine(name="collect", seconds=61, command="robopolicy collect task=a&b")]
    page = write_report(
        tmp_path / "report.html",
        title="Point & goal",
        results=results,
        curves={"run": lines},
        films=[evil, *made[1:]],
        stages=stages,
    ).read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "a&lt;b&gt;" in page
    assert "<title>Point &amp; goal</title>" in page
    assert "robopolicy collect task=a&amp;b" in page
    low, high = results["policies"]["good"]["interval"]
    assert f"{low:.0%} to {high:.0%}" in page
    assert "cannot render" in page
    assert results["provenance"]["versions"]["torch"] in page
    # whole in itself
    assert not re.search(r'(?:src|href)="(?!data:)|url\(|@import|https?://', page)
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(images) == 1 + sum(len(each.frames) for each in made)
    assert all(base64.b64decode(image).startswith(b"\x89PNG") for image in images)
    without = write_report(tmp_path / "bare.html", title="Bare", results=results).read_text()
    assert "<h2>Learning" not in without
    assert "<h2>Episodes" not in without


def test_a_sketch_shows_where_things_are():
    env = make_env("tabletop/pick_place")
    step = env.reset(seed=1)
    state = dict(zip(env.spec.state.names, map(float, step.obs.state), strict=True))
    trail = np.zeros((1, 3))
    picture = draw(state, trail)
    assert picture.shape == (240, 320, 3)
    assert np.array_equal(picture, draw(state, trail))
    for name in ("env.object0.x", "env.goal0.y", "ee.z", "gripper.pos"):
        moved = draw({**state, name: state[name] + 0.1}, trail)
        assert (moved != picture).any(), name
    env.close()


def test_the_report_says_what_environment_it_was_and_what_alone_is_shared_by_nobody(evaluated, tmp_path):
    results = read_results(evaluated)
    results["protocol"] |= {"execute": 3, "env_options": {"objects": "held_out", "randomize": True}}
    page = write_report(tmp_path / "two.html", title="Two", results=results).read_text()
    assert "execute 3, no latency, the task&#x27;s own time limit, device cpu" in page
    assert "objects held_out, randomize True" in page
    assert "met by every policy" in page
    for part in (results["policies"], results["runs"]):
        del part["a<b>"]
    results["comparisons"] = []
    page = write_report(tmp_path / "one.html", title="One", results=results).read_text()
    assert "fixed by its seed" in page
    assert "met by every policy" not in page


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        ((), [], r"the whole is \[\]"),
        (("policies",), 1, "policies is 1"),
        (("policies",), {}, "policies is empty"),
        (("runs", "good"), [], "runs.good has 0 items"),
        (("runs", "good", 0, "episodes", 1, "success"), 1, r"runs.good\[0\].episodes\[1\].success is 1"),
        (("runs", "good", 0, "episodes", 1), {}, "lacks .*'length'"),
        (("policies", "good", "interval"), [0.5], "policies.good.interval has 1 items"),
        (("comparisons", 0), "no", r"comparisons\[0\] is 'no'"),
        (("protocol", "block_rows"), 0, "block_rows is not at least 1"),
        (("protocol", "policies"), {"other": ["x"]}, "do not name the same"),
    ],
)
def test_damaged_results_are_refused_by_name(evaluated, tmp_path, at, value, said):
    raw = {"": json.loads((evaluated / "results.json").read_text())}
    part, keys = raw, ["", *at]
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    (tmp_path / "results.json").write_text(json.dumps(raw[""]))
    with pytest.raises(ConfigError, match=rf"results.json is missing or damaged \(.*{said}.*evaluate again"):
        read_results(tmp_path)


def test_a_folder_without_an_evaluation_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"results\.json is missing"):
        reels(tmp_path)
