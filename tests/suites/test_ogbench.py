import json
import os
import warnings
from functools import cache
from importlib.util import find_spec

import gymnasium.utils.env_checker
import numpy as np
import pytest

from robopolicy.core.errors import ConfigError, DatasetError, SpecMismatchError, UnknownNameError
from robopolicy.core.machine import GL
from robopolicy.data.convert import convert
from robopolicy.data.lerobot import open_dataset
from robopolicy.testing import check_env
from robopolicy.testing.envs import random_actions
from robopolicy.train.collect import collect
from sim.ogbench import make_env, make_expert, relabel, suite
from sim.ogbench.tasks import DOMAINS, TASKS

pytestmark = pytest.mark.skipif(
    find_spec("ogbench") is None,
    reason="ogbench is not installed: .venv/bin/python -m pip install -c constraints.txt ogbench==1.2.2",
)
needs_gl = pytest.mark.skipif(
    os.environ.get("MUJOCO_GL") == "disabled", reason=f"no GL library; {GL['egl']} mends it"
)


@cache
def playground(name):
    """An environment to play in: a scene takes a second to make."""
    return make_env(name, **suite.env_options["play"])


def theirs(env):
    """OGBench's own environment within ours."""
    return env.env._world._env


def play(name, seed, *, steps, quality="play", **knobs):
    """The steps of a player, up to so many."""
    env = playground(name)
    player = make_expert(name, quality=quality, spec=env.spec, **knobs)
    found = [env.reset(seed)]
    player.reset([0], [seed])
    while len(found) <= steps and not found[-1].done:
        found.append(env.step(player.act(found[-1:])[0]))
    return found


def toss(inner, rng):
    """Put what a goal is about near to or farther from where it is to be; the state then."""
    import mujoco

    if hasattr(inner, "cur_goal_xy"):
        inner.set_xy(inner.cur_goal_xy + rng.normal(size=2) * inner._goal_tol / 2)
        return inner.get_ob()
    for index in range(getattr(inner, "_num_cubes", 0)):
        goal = inner.data.mocap_pos[inner._cube_target_mocap_ids[index]]
        inner.data.joint(f"object_joint_{index}").qpos[:3] = goal + rng.normal(size=3) * 0.025
    if hasattr(inner, "_drawer_site_id"):
        inner.data.joint("drawer_slide").qpos[:] = inner._target_drawer_pos + rng.normal() * 0.04
        inner.data.joint("window_slide").qpos[:] = inner._target_window_pos + rng.normal() * 0.04
    if hasattr(inner, "_num_buttons"):
        wrong = rng.random(inner._num_buttons) < 0.2
        inner._cur_button_states = inner._target_button_states ^ wrong
        for index in range(inner._num_buttons):
            inner.data.joint(f"buttonbox_joint_{index}").qpos[:] = rng.uniform(-0.02, 0)
    mujoco.mj_forward(inner.model, inner.data)
    return inner.compute_observation()


def test_every_task_is_there():
    import ogbench  # noqa: F401

    worlds = ("cube", "scene", "puzzle", "pointmaze", "antmaze")
    ids = [name for name in gymnasium.registry if name.startswith(worlds) and "-singletask-task" in name]
    assert {name.replace("singletask-", "").removesuffix("-v0") for name in ids} == set(TASKS)
    for name, domain in DOMAINS.items():
        assert gymnasium.spec(f"{name}-singletask-v0").max_episode_steps == domain.time_limit


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("scene-task2", {"start": "anywhere"}),
        ("puzzle-3x3-task4", {}),
        ("pointmaze-teleport-task1", {}),
        ("antmaze-medium-task1", {}),
    ],
)
def test_keeps_every_promise(name, options):
    check_env(lambda: make_env(name, **options), steps=10)


def test_passes_gymnasiums_check():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unbounded states: meant so
        gymnasium.utils.env_checker.check_env(playground("cube-double-task4").env, skip_render_check=True)


@pytest.mark.parametrize(
    "name", ["cube-double-task4", "scene-task4", "puzzle-3x3-task4", "antmaze-medium-task2"]
)
def test_states_and_rewards_are_those_of_ogbench(name):
    env, rng = make_env(name, reward="sparse"), np.random.default_rng(0)
    names = env.spec.state.names
    begun = relabel(name, env.reset(0).obs.state[None], names)[0]
    assert (begun < -1) == ("maze" not in name)
    assert env.step(np.zeros(len(env.spec.action), np.float32)).reward == -1  # does not count
    inner = theirs(env)
    states = np.stack([toss(inner, rng) for _ in range(60)]).astype(np.float32)
    assert states.shape[1] == len(names)
    rng = np.random.default_rng(0)
    for reward, success in zip(*relabel(name, states, names), strict=True):
        toss(inner, rng)
        if "maze" in name:
            assert (reward, success) == (float(inner.compute_success()) - 1, inner.compute_success())
        else:
            assert (reward, success) == (inner.compute_reward(), inner.compute_reward() == 0)
    assert len({*relabel(name, states, names)[0]}) > 1


def test_the_state_before_an_action_is_rewarded_and_the_time_limit_truncates():
    name = "pointmaze-medium-task1"
    ends = []
    for options in ({}, {"terminate": False, "time_limit": 2}):
        env = make_env(name, **options)
        env.reset(0)
        stay = np.zeros(2, np.float32)
        theirs(env).set_xy(theirs(env).cur_goal_xy)
        steps = [env.step(stay), env.step(stay)]
        ends.append([(step.reward, step.terminated, step.truncated, step.info["success"]) for step in steps])
    away, there = (-1.0, False, False, False), (0.0, True, False, True)
    assert ends == [[away, there], [away, (0.0, False, True, True)]]


def test_teleporters_are_seeded_and_leave_numpys_generator_alone():
    env = make_env("pointmaze-teleport-task1")
    inner, outs = theirs(env), {}
    stay = np.zeros(2, np.float32)
    for seed in (*range(6), *range(6)):
        np.random.seed(len(outs))  # what others do does not matter
        before = np.random.get_state()[1].copy()
        env.reset(seed)
        inner.set_xy(np.array(inner._teleport_info["teleport_in_xys"][0]))
        env.step(stay)  # shows where it was before
        out = tuple(env.step(stay).obs.state)
        assert outs.setdefault(seed, out) == out
        np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert len(set(outs.values())) > 1


@pytest.mark.parametrize("name", ["scene-task2", "puzzle-3x3-task4", "cube-double-task4"])
def test_players_are_told_what_ogbench_tells(name):
    from sim.ogbench.scene import Scene
    from sim.ogbench.targets import Target

    env = playground(name)
    env.reset(3)
    inner, kinds = theirs(env), set()
    domain = DOMAINS[name.rpartition("-task")[0]]
    for _ in range(20):
        state, info = inner.set_new_target()
        kind = info["privileged/target_task"]
        kinds.add(kind)
        thing = "block" if kind == "cube" else kind
        target = Target(
            kind=kind,
            index=info.get(f"privileged/target_{thing}", 0),
            place=info[
                f"privileged/target_{thing}_{dict(cube='pos', button='top_pos').get(kind, 'handle_pos')}"
            ],
            yaw=info["privileged/target_block_yaw"][0] if kind == "cube" else 0.0,
            on=bool(info.get("privileged/target_button_state", 0)),
        )
        told = target.told(Scene.of(domain, state.astype(np.float32)), info["time"][0])
        for key, value in told.items():
            np.testing.assert_allclose(value, info[key], atol=2e-3, err_msg=key)
    assert len(kinds) == (4 if domain.fixtures else 1)


def test_goals_are_drawn_as_often_as_ogbench_draws_them():
    from sim.ogbench.scene import Scene
    from sim.ogbench.targets import draw

    for name, wanted in (("scene-task2", "cube"), ("cube-double-task4", "stack")):
        env, draws = playground(name), 500
        inner = theirs(env)
        env.reset(1)
        domain, rng = DOMAINS[name.rpartition("-task")[0]], np.random.default_rng(0)
        ours, official = [], []
        for _ in range(draws):
            state, info = inner.set_new_target(p_stack=0.3)
            target = draw(
                rng, domain, Scene.of(domain, state), bounds=inner._target_sampling_bounds, stack=0.3
            )
            if wanted == "stack":
                official.append(info["privileged/target_block_pos"][2] > 0.03)
                ours.append(target.place[2] > 0.03)
            else:
                official.append(info["privileged/target_task"] == wanted)
                ours.append(target.kind == wanted)
        assert abs(np.mean(ours) - np.mean(official)) < 0.08, (name, np.mean(ours), np.mean(official))
        assert 0.1 < np.mean(ours) < 0.6


@pytest.mark.parametrize("quality", ["play", "noisy"])
def test_play_is_fixed_by_its_seed_and_moves_things(quality):
    runs = []
    for number, steps in ((0, 160), (1, 20)):
        np.random.seed(number)
        runs.append(play("cube-double-task4", 5, steps=steps, quality=quality))
    actions, again = (np.stack([step.applied for step in run[1:]]) for run in runs)
    np.testing.assert_array_equal(actions[:20], again)
    other = play("cube-double-task4", 6, steps=20, quality=quality)
    assert (other[20].applied != again[19]).any()
    assert runs[0][0].obs.state[0] != other[0].obs.state[0]
    heights = np.stack([step.obs.state for step in runs[0]])[:, [21, 30]]
    assert np.ptp(heights, axis=0).max() > 0.5  # dm
    assert not runs[0][-1].done


def test_an_episode_of_the_scene_ends_where_its_cube_gets_out_of_sight():
    env = playground("scene-task2")
    for y, z, over in ((0.2, 0.02, False), (0.3, 0.02, True), (-0.31, 0.02, True), (-0.31, 0.07, False)):
        env.reset(0)
        theirs(env).data.joint("object_joint_0").qpos[:3] = [0.4, y, z]
        step = env.step(np.array([0, 0, 1, 0, 0], np.float32))
        at = step.obs.state[20:22] / 10
        assert step.truncated is over, at


def test_collections_fit_what_ogbench_publishes(tmp_path):
    made = collect("ogbench/puzzle-3x3-task4", 2, "play", tmp_path / "made", env_options={"time_limit": 5})
    dataset = open_dataset(made)
    assert json.loads((made / "meta" / "collect.json").read_text())["versions"]["ogbench"] == "1.2.2"
    store = dataset.load()
    assert store.episode_stop.tolist() == [5, 10]
    names = dataset.spec.state.names
    for begin, end in ((0, 5), (5, 10)):
        rewards, _ = relabel("puzzle-3x3-task4", store.state[begin:end], names)
        np.testing.assert_array_equal(store.reward[begin:end], rewards)
    published = tmp_path / "puzzle-3x3-play-v0.npz"
    np.savez(published, observations=store.state, actions=store.action, terminals=np.arange(10) % 5 == 4)
    imported = convert(published, tmp_path / "imported", task="ogbench/puzzle-3x3-task1")
    assert imported.spec == dataset.spec
    np.testing.assert_array_equal(imported.load().state, store.state)
    for task in ("cube-quadruple-task1", "puzzle-4x4-task1"):  # of the former the states are as long
        with pytest.raises(DatasetError, match=f"holds puzzle-3x3, task=ogbench/{task} was asked for"):
            convert(published, tmp_path / "other", task=f"ogbench/{task}")


def test_mistakes_name_the_fix():
    with pytest.raises(UnknownNameError, match="no camera 'bak'; did you mean 'back'"):
        make_env("antmaze-medium-task1", cameras=["bak"])
    with pytest.raises(UnknownNameError, match="no reward 'sprse'; did you mean 'sparse'"):
        make_env("cube-single-task1", reward="sprse")
    with pytest.raises(ConfigError, match=r"start is 'anywhere', .* nobody in antmaze-medium-task1"):
        make_env("antmaze-medium-task1", start="anywhere")
    with pytest.raises(ConfigError, match="antmaze-medium-task1 has no demonstrator"):
        make_expert("antmaze-medium-task1")
    with pytest.raises(ConfigError, match=r"expert: random_action is 2\.0; it must be"):
        make_expert("cube-single-task1", quality="noisy", random_action=2.0)
    blind = playground("cube-double-task4").spec.observe("state", ["ee.*"])
    with pytest.raises(SpecMismatchError, match=r"shoulder_pan\.pos.*make it with observe='state'"):
        make_expert("cube-double-task4", spec=blind)


@needs_gl
def test_frames_show_the_scene_and_do_not_change_it():
    seeing, blind = make_env("cube-single-task2", observe="all"), make_env("cube-single-task2")
    first = seeing.reset(0)
    np.testing.assert_array_equal(first.obs.state, blind.reset(0).obs.state)
    frame = first.obs.images["front_pixels"]
    assert frame.shape == (3, 84, 84)
    red, green, blue = frame.astype(int)
    cube = np.argwhere((red - green > 60) & (red - blue > 60))
    assert np.abs(cube.mean(axis=0) - 42).max() < 10  # on the middle line, half way down
    for action in random_actions(blind.spec, 3):
        seen, unseen = seeing.step(action), blind.step(action)
    np.testing.assert_array_equal(seen.obs.state, unseen.obs.state)
    assert (seen.obs.images["front_pixels"] != frame).any()
    seeing.close()
