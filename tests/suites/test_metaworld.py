import json
import os
import warnings
from importlib.util import find_spec

import gymnasium.utils.env_checker
import numpy as np
import pytest
from acted import acted, part

from robopolicy.cli.compose import compose
from robopolicy.cli.stages import Settings
from robopolicy.core.errors import ConfigError, SpecMismatchError, UnknownNameError
from robopolicy.core.machine import GL
from robopolicy.data.lerobot import open_dataset
from robopolicy.testing import check_env
from robopolicy.train.collect import collect
from sim.metaworld import make_env, make_expert
from sim.metaworld.tasks import MT10, TASKS

pytestmark = pytest.mark.skipif(
    find_spec("metaworld") is None,
    reason="metaworld is not installed: .venv/bin/python -m pip install -c constraints.txt metaworld==3.0.0",
)
needs_gl = pytest.mark.skipif(
    os.environ.get("MUJOCO_GL") == "disabled", reason=f"no GL library; {GL['egl']} mends it"
)

# Where the package's own first observation is of a thing that has not been moved yet.
LATE = ("dial-turn-v3", "drawer-open-v3", "faucet-open-v3", "lever-pull-v3", "window-close-v3")


def demonstrate(env, name, seed, **options):
    return acted(env, make_expert(name, spec=env.spec, **options), seed)


def test_every_task_is_there():
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS, MT10_V3

    assert set(TASKS) == set(ALL_V3_ENVIRONMENTS)
    assert tuple(MT10_V3) == MT10
    assert len(set(TASKS.values())) == 50  # an instruction tells its task


@pytest.mark.parametrize("name", sorted({*MT10, *LATE}))
def test_keeps_every_promise(name):
    check_env(lambda: make_env(name), steps=10)


def test_passes_gymnasiums_check():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unbounded states: meant so
        gymnasium.utils.env_checker.check_env(make_env("push-v3").env, skip_render_check=True)


@pytest.mark.parametrize("name", LATE)
def test_the_first_observation_is_of_things_in_their_places(name):
    env = make_env(name)
    first = env.reset(5)
    second = env.step(np.array([0, 0, 0, -1], np.float32))
    np.testing.assert_allclose(
        part(env, first, "env.object0")[:3], part(env, second, "env.object0")[:3], atol=5e-3
    )
    np.testing.assert_array_equal(part(env, first, "env.previous"), part(env, first, "env.object"))


def test_goal_and_start_vary_with_the_seed_and_are_shown():
    env = make_env("push-v3")
    starts = [env.reset(seed) for seed in range(8)]
    for prefix in ("env.goal", "env.object0"):
        assert (np.ptp([part(env, step, prefix)[:2] for step in starts], axis=0) > 0.02).all()
    assert {step.obs.text for step in starts} == {("push the puck to the goal",)}


def test_a_goal_is_hidden_where_asked_and_the_expert_then_refuses():
    env = make_env("reach-v3", goal=False)
    assert not part(env, env.reset(0), "env.goal").size
    with pytest.raises(SpecMismatchError, match=r"env\.goal\.x"):
        make_expert("reach-v3", spec=env.spec)


@pytest.mark.parametrize("name", MT10)
def test_expert_solves_the_task(name):
    last = demonstrate(make_env(name), name, 1)[-1]
    assert (last.terminated, last.info["success"], last.reward) == (True, True, 1.0)


def test_noise_is_fixed_by_the_seed_and_grows_with_the_quality():
    env = make_env("reach-v3")
    runs = {
        quality: np.stack([step.applied for step in demonstrate(env, "reach-v3", 3, quality=quality)[1:20]])
        for quality in ("expert", "noisy")
    }
    again = demonstrate(env, "reach-v3", 3, quality="noisy")[1:20]
    np.testing.assert_array_equal(runs["noisy"], np.stack([step.applied for step in again]))
    apart = np.abs(runs["noisy"] - runs["expert"])
    assert apart[:, :3].max() > 0.1
    assert not apart[:, 3].any()  # the gripper


def test_demonstrations_are_recorded_with_instruction_and_versions(tmp_path):
    dataset = open_dataset(collect("metaworld/reach-v3", 1, "noisy", tmp_path / "data"))
    assert (len(dataset.spec.state), dataset.spec.control_hz) == (39, 80)
    assert dataset.episode(0).text == "move the hand to the goal"
    made = json.loads((tmp_path / "data" / "meta" / "collect.json").read_text())
    assert made["versions"]["metaworld"] == "3.0.0"


def test_dense_rewards_and_an_episode_that_goes_on():
    env = make_env("reach-v3", reward="dense", terminate=False, time_limit=90)
    steps = demonstrate(env, "reach-v3", 1)
    assert len(steps) == 91
    assert (steps[-1].truncated, steps[-1].terminated, steps[-1].info["success"]) == (True, False, True)
    assert 0 < steps[1].reward < steps[-1].reward <= 10


def test_mistakes_name_the_fix():
    with pytest.raises(UnknownNameError, match=r"no camera 'front'.*corner"):
        make_env("reach-v3", cameras=["front"])
    with pytest.raises(ConfigError, match=r"_uneven', but .* name another with recipe= .* '\*\.pos'; known"):
        Settings(**compose("quickstart", ["task=metaworld/reach-v3"]))
    with pytest.raises(UnknownNameError, match="no reward 'dnse'; did you mean 'dense'"):
        make_env("reach-v3", reward="dnse")


@needs_gl
def test_cameras_show_the_scene_upright_and_do_not_change_it():
    seeing, blind = make_env("reach-v3", observe="all"), make_env("reach-v3")
    first = seeing.reset(0)
    np.testing.assert_array_equal(first.obs.state, blind.reset(0).obs.state)
    red, green, blue = first.obs.images["corner2"].astype(int)
    arm = np.argwhere((red > 100) & (green < 70) & (blue < 70))  # mounted at the bottom left, reaches right
    assert arm[arm[:, 0] > 60, 1].mean() < arm[arm[:, 0] < 20, 1].mean() + 10
    assert (
        first.obs.images["corner2"][:, 0, 0] == 0
    ).all()  # beyond the room, where the plain look has no sky
    action = np.array([1, 1, 0, 1], np.float32)
    for _ in range(3):
        seen, unseen = seeing.step(action), blind.step(action)
    np.testing.assert_array_equal(seen.obs.state, unseen.obs.state)
    assert (seen.obs.images["gripperPOV"] != first.obs.images["gripperPOV"]).any()
    seeing.close()
