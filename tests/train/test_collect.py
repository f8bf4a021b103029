import json
from dataclasses import replace

import numpy as np
import pytest

from robopolicy.core import suites
from robopolicy.core.errors import ConfigError, DatasetError, UnknownNameError
from robopolicy.data.lerobot import open_dataset
from robopolicy.data.merge import merge
from robopolicy.train.collect import collect, task_of

TASK = "tabletop/reach"


def content(path) -> list[np.ndarray]:
    store = open_dataset(path).load("state")
    return [store.state, store.action, store.reward, store.episode_stop, store.success]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return content(collect(TASK, 12, "mixed", tmp_path_factory.mktemp("whole") / "data"))


def test_the_data_do_not_depend_on_the_number_of_workers(whole, tmp_path):
    seen = []
    path = collect(TASK, 12, "mixed", tmp_path / "two", workers=2, progress=lambda *at: seen.append(at))
    assert same(content(path), whole)
    assert seen == [(count, 12) for count in range(13)]
    dataset = open_dataset(path)
    assert not dataset.load("state").spec.images


def test_a_collection_that_was_killed_goes_on_where_it_stopped(whole, tmp_path):
    class KilledError(Exception): ...

    def kill(done: int, wanted: int) -> None:
        if done == 7:  # in the middle of a block
            raise KilledError

    with pytest.raises(KilledError):
        collect(TASK, 12, "mixed", tmp_path / "data", progress=kill)
    assert open_dataset(tmp_path / "data").num_episodes == 7
    assert same(content(collect(TASK, 12, "mixed", tmp_path / "data")), whole)


def test_a_collection_that_ends_before_its_first_episode_leaves_nothing(tmp_path):
    def stop(done: int, wanted: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(TASK, 1, "expert", tmp_path / "data", workers=1, progress=stop)
    assert not (tmp_path / "data").exists()


def test_more_can_be_asked_for_later_and_less_changes_nothing(whole, tmp_path):
    for episodes in (3, 8, 8, 12, 2):
        collect(TASK, episodes, "mixed", tmp_path / "data")
    assert same(content(tmp_path / "data"), whole)


def test_failures_are_kept_and_marked_or_left_out(tmp_path):
    everything = open_dataset(collect("tabletop/pick_place", 10, "poor", tmp_path / "all")).load("state")
    assert not everything.success.all()
    with pytest.raises(UnknownNameError, match="expert"):
        collect(TASK, 3, "exprt", tmp_path / "typo")
    good = open_dataset(collect(TASK, 6, "expert", tmp_path / "good", only_success=True)).load("state")
    assert good.success.all()


def test_one_folder_holds_one_kind(tmp_path):
    collect(TASK, 1, "expert", tmp_path / "data")
    with pytest.raises(DatasetError, match=r"quality.*expert"):
        collect(TASK, 2, "mixed", tmp_path / "data")
    merge([tmp_path / "data"], tmp_path / "merged")
    assert task_of(tmp_path / "merged") == TASK
    with pytest.raises(DatasetError, match="holds 1 episodes that were not collected here"):
        collect(TASK, 2, "expert", tmp_path / "merged")
    (tmp_path / "data" / "meta" / "collect.json").unlink()
    with pytest.raises(DatasetError, match="not collected here"):
        collect(TASK, 2, "expert", tmp_path / "data")
    with pytest.raises(ConfigError, match="seeds below"):
        collect(TASK, 10, "expert", tmp_path / "far", seed=999_995)


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"request": 5}', '{"seeds": -5, "episodes": 1}'])
def test_a_record_of_progress_that_is_damaged(tmp_path, damage):
    path = collect(TASK, 1, "expert", tmp_path / "data") / "meta" / "collect.json"
    content = json.loads(path.read_text())
    whole = damage.startswith('{"seeds')
    path.write_text(json.dumps({**content, **json.loads(damage)}) if whole else damage)
    with pytest.raises(DatasetError, match=r"collect\.json is damaged.*choose another folder"):
        collect(TASK, 2, "expert", path.parents[1])


def test_the_expert_acts_as_the_environment_understands(tmp_path):
    dataset = open_dataset(
        collect("tabletop/pick", 5, "expert", tmp_path / "ee", env_options={"action_mode": "ee"})
    )
    assert dataset.spec.semantics.frame == "base"
    assert dataset.load("state").success.all()


def test_a_knob_of_the_quality_is_turned_and_recorded(tmp_path):
    sloppy = {"miss": 1, "recover": 0.0, "speed": [0.5, 0.6]}
    path = collect("tabletop/pick", 2, "expert", tmp_path / "data", expert_options=sloppy)
    assert not open_dataset(path).load("state").success.any()
    assert json.loads((path / "meta" / "collect.json").read_text())["request"]["expert_options"] == sloppy
    with pytest.raises(DatasetError, match="expert_options"):
        collect("tabletop/pick", 3, "expert", path)


def test_a_group_of_tasks_goes_on_where_it_stopped_and_is_one_dataset(tmp_path, monkeypatch):
    grouped = replace(suites.find(TASK)[0], groups={"two": ("reach", "button")})
    monkeypatch.setitem(suites.suites()[0], "tabletop", grouped)
    assert suites.members_of("tabletop/two") == ("tabletop/reach", "tabletop/button")
    assert len(suites.members_of("tabletop/all")) == len(grouped.tasks)
    with pytest.raises(ConfigError, match="tabletop/two is a group of 2 tasks; name one of them"):
        suites.make_env("tabletop/two")

    def stop(done: int, wanted: int) -> None:
        assert wanted == 6
        if done == 4:
            raise KeyboardInterrupt

    out = tmp_path / "both"
    with pytest.raises(KeyboardInterrupt):
        collect("tabletop/two", 3, "expert", out, progress=stop)
    assert not out.exists()
    seen = []
    dataset = open_dataset(collect("tabletop/two", 3, "expert", out, progress=lambda *at: seen.append(at)))
    assert dataset.num_episodes == 6
    assert seen[0] == (3, 6)  # the first task was whole
    reach = content(collect("tabletop/reach", 3, "expert", tmp_path / "reach"))
    store = dataset.load("state")
    assert np.array_equal(store.state[: len(reach[0])], reach[0])
    with pytest.raises(DatasetError, match=r"both holds 6 episodes, but 4 of each of 2 tasks are wanted"):
        collect("tabletop/two", 4, "expert", out)


def test_a_group_names_tasks_of_its_suite_and_takes_no_name_away():
    suite = suites.find(TASK)[0]
    for groups, said in (
        ({"two": ("reach", "fly")}, r"suite 'tabletop' has no tasks \['fly'\], which its group 'two' names"),
        ({"all": ("reach",)}, "suite 'tabletop' has a group 'all'; that name is taken"),
        ({"push": ("reach",)}, "suite 'tabletop' has a group 'push'; that name is taken"),
    ):
        with pytest.raises(ConfigError, match=said):
            replace(suite, groups=groups)
