import importlib
import inspect
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium.utils.env_checker
import numpy as np
import pytest

from robopolicy.core.errors import ConfigError, SpecMismatchError, UnknownNameError
from sim.env import ActionError
from sim.tabletop import make_env, make_expert, relabel, state
from sim.tabletop.env import TabletopEnv
from sim.tabletop.state import Scene
from sim.tabletop.tasks import TASKS, task

NAMES = list(TASKS)
ROOT = Path(__file__).parents[2]


def demonstrate(name, seeds, *, quality="expert", action_mode="joint"):
    """Play one row; yields (steps, actions) of each episode."""
    env = make_env(name, action_mode=action_mode)
    expert = make_expert(name, quality=quality, spec=env.spec)
    for seed in seeds:
        step = env.reset(seed)
        expert.reset([0], [seed])
        steps, actions = [step], []
        while not step.done:
            actions.append(expert.act([step])[0])
            step = env.step(actions[-1])
            steps.append(step)
        yield steps, actions
    env.close()


@pytest.mark.parametrize("name", NAMES)
def test_passes_gymnasiums_check(name):
    env = TabletopEnv(task(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unbounded positions, actions in rad: meant so
        gymnasium.utils.env_checker.check_env(env, skip_render_check=True)


@pytest.mark.parametrize("name", NAMES)
def test_expert_solves_the_task_and_relabelling_agrees(name):
    solved = []
    for steps, _ in demonstrate(name, range(12)):
        states = np.stack([step.obs.state for step in steps[:-1]])
        rewards, success = relabel(name, states, state.NAMES)
        given = np.array([step.reward for step in steps[1:]])
        np.testing.assert_array_equal(rewards, given)
        assert success[-1] == steps[-1].info["success"] == steps[-1].terminated
        solved.append(steps[-1].info["success"])
    assert sum(solved) >= 11


def test_ee_actions_do_what_joint_actions_do():
    joint, ee = (next(demonstrate("pick_place", [7], action_mode=mode))[0] for mode in ("joint", "ee"))
    assert ee[-1].info["success"]
    assert abs(len(joint) - len(ee)) < 5


def test_worse_demonstrators_do_worse():
    def rate(quality):
        runs = demonstrate("pick_place", range(30), quality=quality)
        return np.mean([steps[-1].info["success"] for steps, _ in runs])

    expert, mixed, poor = rate("expert"), rate("mixed"), rate("poor")
    assert poor < mixed < expert


def test_a_knock_moves_the_arm_for_a_while_and_its_seed_fixes_it():
    def paths(**options) -> np.ndarray:
        env = make_env("pick_place", **options)
        step = env.reset(3)
        hold = step.obs.state[:6].astype(np.float32)
        path = np.stack([env.step(hold).obs.state[:6] for _ in range(200)])
        env.close()
        return path

    calm, knocked = paths(), paths(knocks=0.1)
    np.testing.assert_array_equal(knocked, paths(knocks=0.1))
    away = np.abs(knocked - calm)[:, :5].max(axis=1)
    assert away.max() > 0.03
    assert np.median(away) < 0.01  # it comes back


def test_demonstrations_have_several_modes():
    def grasp_roll(steps):
        scene = Scene(np.stack([step.obs.state for step in steps]))
        return scene.pose[scene.object(0).position[:, 2].argmax(), 4]

    # The same scenes, other manners: the expert's own seed picks the faces that it grasps.
    env, expert = make_env("pick"), make_expert("pick")
    rolls = []
    for manner in range(8):
        step = env.reset(0)
        expert.reset([0], [manner])
        steps = [step]
        while not step.done:
            step = env.step(expert.act([step])[0])
            steps.append(step)
        rolls.append(grasp_roll(steps))
    assert np.ptp(rolls) > 1.0


def test_a_seed_fixes_everything():
    def trace():
        for steps, actions in demonstrate("pick_place", [3, 4]):
            yield np.stack([step.obs.state for step in steps]), np.stack(actions), steps[0].obs.text

    for (states, actions, text), (states2, actions2, text2) in zip(trace(), trace(), strict=True):
        np.testing.assert_array_equal(states, states2)
        np.testing.assert_array_equal(actions, actions2)
        assert text == text2


def test_an_episode_does_not_depend_on_the_one_before():
    env = make_env("push")
    first = env.reset(5).obs.state
    env.reset(6)
    for _ in range(20):
        env.step(env.spec.action.clip(np.full(6, 0.3, np.float32)))
    np.testing.assert_array_equal(env.reset(5).obs.state, first)


@pytest.mark.parametrize("name", NAMES)
def test_starts_and_instructions_vary(name):
    env = make_env(name)
    starts = [env.reset(seed) for seed in range(20)]
    states = np.stack([step.obs.state for step in starts])
    assert len(np.unique(states, axis=0)) == 20
    scene = Scene(states)
    moved = {"object": scene.object(0).position, "goal": scene.goal(), "fixture": scene.fixture}[
        task(name).props[0].role
    ]
    assert (np.std(moved[:, :2], axis=0) > 0.01).all()
    assert {step.obs.text for step in starts} == {(text,) for text in task(name).instructions}


def test_every_task_has_the_same_spec():
    first, *others = (make_env(name).spec for name in NAMES)
    assert all(spec == first for spec in others)
    assert len(first.state) == state.SIZE


def test_rows_are_independent():
    env, seeds = make_env("pick"), [11, 12, 13]
    many = make_expert("pick", rows=3)
    many.reset(range(3), seeds)
    starts = [env.reset(seed) for seed in seeds]
    together = many.act(starts)
    for row, seed in enumerate(seeds):
        one = make_expert("pick")
        one.reset([0], [seed])
        np.testing.assert_array_equal(one.act([starts[row]])[0], together[row])


def test_observations_share_no_memory():
    env = make_env("pick")
    first = env.reset(0)
    before = first.obs.state.copy()
    second = env.step(first.obs.state[:6])
    assert not np.shares_memory(first.obs.state, second.obs.state)
    np.testing.assert_array_equal(first.obs.state, before)


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (np.array([0, np.nan, 0, 0, 0, 0]), "shoulder_lift"),
        (np.array([0, 0, 0, 0, 0, np.inf]), "gripper"),
        (np.zeros(5), r"\(5,\)"),
        (np.zeros((1, 6)), r"\(1, 6\)"),
    ],
)
def test_actions_that_cannot_be_commanded_are_refused(action, told):
    env = make_env("reach")
    env.reset(0)
    with pytest.raises(ActionError, match=told):
        env.step(action)
    with pytest.raises(ActionError, match=told):
        env.env.step(action)


def test_actions_beyond_the_bounds_are_clipped_and_both_are_told():
    env = make_env("reach")
    env.reset(0)
    step = env.step(np.full(6, 9.0))
    np.testing.assert_array_equal(step.proposed, np.full(6, 9.0, np.float32))
    np.testing.assert_allclose(np.asarray(step.applied), env.spec.action.high)


def test_time_limit_truncates():
    env = make_env("pick")
    step = env.reset(0)
    stay = step.obs.state[:6]
    count = 0
    while not step.done:
        step = env.step(stay)
        count += 1
    assert (step.truncated, step.terminated, count) == (True, False, task("pick").time_limit)


def test_mistakes_name_the_fix():
    with pytest.raises(UnknownNameError, match="tabletop/pick_place"):
        make_env("pick_plase")
    with pytest.raises(UnknownNameError, match="expert"):
        make_expert("pick", quality="exprt")
    with pytest.raises(ValueError, match="action_mode"):
        make_env("pick", action_mode="velocity")
    blind = make_expert("pick")
    blind.reset([0], [0])
    step = make_env("pick").reset(0)
    narrow = type(step)(obs=type(step.obs)(state=step.obs.state[:17]))
    with pytest.raises(SpecMismatchError, match="observe='state'"):
        blind.act([narrow])


def test_the_expert_cannot_see_the_simulation():
    """Demonstrators are given steps alone: neither engine nor plans touch MuJoCo's data."""
    modules = {"sim.tabletop.expert", "sim.tabletop.moves", "sim.tabletop.play"} | {
        kind.__module__ for kind in TASKS.values()
    }
    for module in modules:
        source = inspect.getsource(importlib.import_module(module))
        assert "mujoco" not in source
        assert "tabletop.env" not in source


def test_states_touch_no_gl():
    code = (
        "import sys\n"
        "from sim.tabletop import make_env\n"
        "env = make_env('pick_place')\n"
        "env.step(env.reset(0).obs.state[:6])\n"
        "egl = sys.modules.get('mujoco.egl')\n"
        "assert egl is None or egl.EGL_DISPLAY is None\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_an_option_that_does_not_exist_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match="no parameter 'observ'; did you mean 'observe'"):
        make_env("reach", observ="state")
