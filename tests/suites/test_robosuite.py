import json
import os
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import gymnasium.utils.env_checker
import mujoco
import numpy as np
import pytest
from acted import acted, part

from robopolicy.core.errors import ConfigError, SpecMismatchError, UnknownNameError
from robopolicy.core.machine import GL
from robopolicy.data.lerobot import open_dataset
from robopolicy.testing import check_env
from robopolicy.train.collect import collect
from sim.robosuite import make_env, make_expert
from sim.robosuite.spec import ARMS, CONTROLLERS
from sim.robosuite.tasks import TASKS

ROOT = Path(__file__).parents[2]
if find_spec("robosuite") is None:
    pytest.skip(
        "robosuite is not installed: .venv/bin/python -m pip install -c constraints.txt robosuite==1.5.1",
        allow_module_level=True,
    )
needs_gl = pytest.mark.skipif(
    os.environ.get("MUJOCO_GL") == "disabled", reason=f"no GL library; {GL['egl']} mends it"
)


def whole(env) -> np.ndarray:
    """All that the next step depends on: MuJoCo's state, and where the model itself was changed."""
    made, kind = env.env, mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(made._model, kind))
    mujoco.mj_getState(made._model, made._data, state, kind)
    return np.concatenate([state, made._model.body_pos.ravel(), made._model.body_quat.ravel()])


def demonstrate(env, name, seed, **options):
    return acted(env, make_expert(name, spec=env.spec, **options), seed)


@pytest.fixture(scope="module")
def lift():
    return make_env("Lift")


@pytest.mark.parametrize("name", TASKS)
def test_keeps_every_promise(name):
    check_env(lambda: make_env(name), steps=4)


def test_passes_gymnasiums_check(lift):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unbounded states: meant so
        gymnasium.utils.env_checker.check_env(lift.env, skip_render_check=True)


@pytest.mark.parametrize("name", TASKS)
def test_things_are_found_in_what_robosuite_tells(name):
    env = make_env(name)
    told = part(env, env.reset(2), "env.object")
    seen = env.env._env._get_observations()
    assert [key for key in seen if key in TASKS[name].things] == list(TASKS[name].things)
    for key, value in TASKS[name].things_in(told).items():
        np.testing.assert_allclose(value, np.atleast_1d(seen[key]), atol=1e-6, err_msg=key)


@pytest.mark.parametrize("name", ["Door", "PickPlaceCan"])
def test_nothing_of_an_episode_is_left_in_the_next(name):
    used, fresh = make_env(name), make_env(name)
    used.reset(0)
    for _ in range(5):
        used.step(np.array([1, -1, -1, 1, 0, 0, 1], np.float32))
    used.reset(7)
    fresh.reset(7)
    np.testing.assert_array_equal(whole(used), whole(fresh))


def test_what_is_seen_is_of_now(lift):
    lift.reset(0)
    for _ in range(4):
        step = lift.step(np.array([1, 0, -1, 0, 0, 0, 1], np.float32))
    package = lift.env._env
    mujoco.mj_forward(lift.env._model, lift.env._data)
    hand = lift.env._data.site_xpos[package.robots[0].eef_site_id["right"]]
    cube = lift.env._data.body("cube_main").xpos
    np.testing.assert_allclose(part(lift, step, "robot0_eef_pos"), hand, atol=1e-6)
    things = TASKS["Lift"].things_in(part(lift, step, "env.object"))
    np.testing.assert_allclose(things["gripper_to_cube_pos"], cube - hand, atol=1e-6)


@pytest.mark.parametrize("robot", ARMS)
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_every_arm_moves_as_it_is_told(robot, controller):
    env = make_env("TwoArmLift" if ARMS[robot] == 2 else "Lift", robots=robot, controller=controller)
    first = env.reset(0)
    two = ARMS[robot] == 2
    told, seen = {
        "OSC_POSE": ("ee0.x" if two else "ee.x", f"robot0_{'right_' * two}eef_pos.0"),
        "JOINT_POSITION": ("joint0.5" if two else "joint.5", "robot0_joint_pos.5"),
    }[controller]
    action = np.zeros(len(env.spec.action), np.float32)
    action[env.spec.action.names.index(told)] = 1.0
    for _ in range(5):
        step = env.step(action)
    at = env.spec.state.names.index(seen)
    assert 0.01 < step.obs.state[at] - first.obs.state[at] < 0.3
    assert env.settings["robots"] == [robot]


def test_two_arms_may_differ():
    env = make_env("TwoArmLift", robots=["Panda", "UR5e"])
    assert sum(name.startswith("robot1_joint") for name in env.spec.state.names) == 6
    assert env.spec.action.names[6:8] == ("gripper0", "ee1.x")


@pytest.mark.parametrize("name", TASKS)
def test_expert_solves_the_task(name):
    last = demonstrate(make_env(name), name, 1)[-1]
    assert (last.terminated, last.info["success"], last.reward) == (True, True, 1.0)
    assert last.obs.text == (TASKS[name].instruction,)


def test_ways_and_noise_are_fixed_by_the_seed(lift):
    def shown(quality, seed):
        return np.stack([step.applied for step in demonstrate(lift, "Lift", seed, quality=quality)[1:12]])

    expert, noisy = shown("expert", 3), shown("noisy", 3)
    np.testing.assert_array_equal(noisy, shown("noisy", 3))
    assert np.abs(noisy - expert)[:, :6].max() > 0.1
    assert not (noisy - expert)[:, 6].any()  # the gripper
    turns = [abs(shown("varied", seed)[2, 5] - shown("expert", seed)[2, 5]) > 0.5 for seed in range(6)]
    assert len(set(turns)) == 2


def test_demonstrations_are_recorded_with_settings_and_versions(tmp_path):
    out = collect("robosuite/Lift", 1, "noisy", tmp_path / "data", expert_options={"noise": [0.1, 0.1]})
    dataset = open_dataset(out)
    assert dataset.episode(0).text == "lift the red cube"
    assert dataset.episode(0).success
    made = json.loads((out / "meta" / "collect.json").read_text())
    assert made["versions"]["robosuite"] == "1.5.1"
    assert made["settings"]["controllers"][0]["body_parts"]["right"]["kp"] == 150


def test_dense_rewards_and_time_that_runs_out():
    env = make_env("Lift", reward="dense", terminate=False, time_limit=45)
    steps = demonstrate(env, "Lift", 1)
    assert len(steps) == 46
    assert (steps[-1].truncated, steps[-1].terminated, steps[-1].info["success"]) == (True, False, True)
    assert 0 < steps[1].reward < steps[-1].reward == 1


def test_the_import_is_quiet_and_leaves_things_as_they_are():
    code = (
        "import os, numpy as np\n"
        "np.random.seed(5)\n"
        "from sim.robosuite import make_env\n"
        "chosen = os.environ['MUJOCO_GL']\n"
        "make_env('Lift').reset(0)\n"
        "import robosuite\n"
        "assert os.environ['MUJOCO_GL'] == chosen\n"
        "assert np.random.randint(1 << 30) == np.random.RandomState(5).randint(1 << 30)\n"
        "assert not os.path.exists(os.path.join(robosuite.__path__[0], 'macros_private.py'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_mistakes_name_the_fix(lift):
    with pytest.raises(UnknownNameError, match="no robot 'panda'; did you mean 'Panda'"):
        make_env("Lift", robots="panda")
    with pytest.raises(UnknownNameError, match="no controller 'OSC_POS'; did you mean 'OSC_POSE'"):
        make_env("Lift", controller="OSC_POS")
    with pytest.raises(ConfigError, match=r"robots is 'Baxter', with 2 arms, but the task is for 1"):
        make_env("Lift", robots="Baxter")
    with pytest.raises(ConfigError, match=r"\['Panda'\], with 1 arms, but the task is for 2.*or Baxter"):
        make_env("TwoArmLift", robots=["Panda"])
    with pytest.raises(UnknownNameError, match=r"no camera 'agentveiw'; did you mean 'agentview'"):
        make_env("Lift", cameras=["agentveiw"])
    with pytest.raises(UnknownNameError, match="no reward 'dnse'; did you mean 'dense'"):
        make_env("Lift", reward="dnse")
    with pytest.raises(SpecMismatchError, match=r"joint\.0.*use the same action space"):
        make_expert("Lift", spec=make_env("Lift", controller="JOINT_POSITION").spec)
    with pytest.raises(UnknownNameError, match="no quality 'expart'"):
        make_expert("Lift", quality="expart")


@needs_gl
def test_cameras_show_the_scene_and_do_not_change_it(lift):
    seeing = make_env("Lift", observe="all")
    first = seeing.reset(0)
    np.testing.assert_array_equal(first.obs.state, lift.reset(0).obs.state)
    assert {name: image.shape for name, image in first.obs.images.items()} == {
        "agentview": (3, 84, 84),
        "robot0_eye_in_hand": (3, 84, 84),
    }
    red, green, blue = first.obs.images["agentview"].astype(int)
    cube = np.argwhere((red > 60) & (red > 2 * green) & (red > 2 * blue))
    assert len(cube) > 4
    assert abs(cube.mean(axis=0) - [50, 42]).max() < 15  # before the middle of the table, and not upside down
    action = np.array([1, 0, -1, 0, 0, 0, 1], np.float32)
    for _ in range(3):
        seen, unseen = seeing.step(action), lift.step(action)
    np.testing.assert_array_equal(seen.obs.state, unseen.obs.state)
    assert (seen.obs.images["robot0_eye_in_hand"] != first.obs.images["robot0_eye_in_hand"]).any()
    seeing.close()
