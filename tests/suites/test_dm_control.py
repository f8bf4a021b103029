import os
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium.utils.env_checker
import numpy as np
import pytest

from robopolicy.core.errors import ConfigError, UnknownNameError
from robopolicy.core.machine import GL
from robopolicy.core.suites import make_expert
from robopolicy.testing import check_env
from sim.dm_control import make_env
from sim.dm_control.env import DmControlEnv, suite
from sim.dm_control.tasks import TASKS

ROOT = Path(__file__).parents[2]
needs_gl = pytest.mark.skipif(
    os.environ.get("MUJOCO_GL") == "disabled", reason=f"no GL library; {GL['egl']} mends it"
)


def in_another_process(code: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_task_is_there():
    assert {f"{domain}-{task}" for domain, task in suite.ALL_TASKS} == set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_keeps_every_promise(name):
    check_env(lambda: make_env(name), steps=10)


@pytest.mark.parametrize("name", ["cartpole-balance", "lqr-lqr_6_2", "stacker-stack_2"])
def test_passes_gymnasiums_check(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unbounded states: meant so
        gymnasium.utils.env_checker.check_env(DmControlEnv(name), skip_render_check=True)


def test_the_spec_says_what_dm_control_says():
    walker, reacher, lqr = (make_env(name).spec for name in ("walker-walk", "reacher-easy", "lqr-lqr_2_1"))
    assert walker.control_hz == 40
    assert walker.state.names[13:16] == ("orientations.13", "height", "velocity.0")
    assert walker.action.names[0] == "right_hip"
    assert (walker.action.low[0], walker.action.high[0]) == (-1, 1)
    assert [name for name in reacher.state.names if name.startswith("env.")] == [
        "env.to_target.0",
        "env.to_target.1",
    ]
    assert lqr.action.high == (np.inf,)


def test_a_seed_means_the_same_in_every_process():
    code = (
        "from sim.dm_control import make_env\n"
        "def after_five_steps(name):\n"
        "    env = make_env(name)\n"
        "    step = env.reset(7)\n"
        "    for _ in range(5): step = env.step(0.1 * step.obs.state[: len(env.spec.action)])\n"
        "    return step.obs.state.tobytes().hex()\n"
        "found = [after_five_steps(name) for name in ('lqr-lqr_6_2', 'walker-walk')]\n"
    )
    here: dict = {}
    exec(code, here)
    assert in_another_process(code + "print(*found)\n").split() == here["found"]


def test_success_is_a_reward_near_its_best():
    hold = np.zeros(1, np.float32)
    for threshold, success in ((0.9, True), (1.1, False), (None, False)):
        env = make_env("cartpole-balance", success_reward=threshold)
        env.reset(0)
        step = env.step(hold)
        assert 0.9 < step.reward < 1.1
        assert step.info["success"] is success


def test_time_truncates_and_rest_terminates():
    env = make_env("pendulum-swingup", time_limit=3)
    env.reset(0)
    ends = [(step.terminated, step.truncated) for step in (env.step(np.zeros(1)) for _ in range(3))]
    assert ends == [(False, False), (False, False), (False, True)]
    env = make_env("lqr-lqr_2_1")
    env.reset(0)
    with env.env._env.physics.reset_context():
        pass  # every mass where its spring wants it
    step = env.step(np.zeros(1))
    assert (step.terminated, step.truncated, step.info["success"]) == (True, False, True)


def test_no_task_needs_gl_for_states():
    code = (
        "from sim.dm_control import make_env\nprint(*make_env('quadruped-escape').reset(0).obs.state[:3])\n"
    )
    env = make_env("quadruped-escape")
    drawn = " ".join(map(str, env.reset(0).obs.state[:3]))
    assert in_another_process(code, MUJOCO_GL="disabled") == drawn


def test_mistakes_name_the_fix():
    with pytest.raises(UnknownNameError, match="no camera 'sid'; did you mean 'side'"):
        make_env("walker-walk", cameras=["sid"])
    with pytest.raises(UnknownNameError, match="no look 'fine'"):
        make_env("walker-walk", look="fine")
    with pytest.raises(ConfigError, match=r"dm_control has no scripted expert.*tabletop"):
        make_expert("dm_control/walker-walk")


@needs_gl
def test_frames_are_plain_unless_asked_and_show_new_terrain():
    plain, full = (make_env("quadruped-escape", observe="pixels", look=look) for look in ("plain", "full"))
    frames = {}
    for env, look in ((plain, "plain"), (full, "full")):
        step = env.reset(0)
        assert step.obs.images["y"].shape == (3, 84, 84)
        assert not any(name.startswith("env.") for name in env.spec.state.names)
        frames[look] = step.obs.images["y"]
    assert (frames["plain"] != frames["full"]).any()
    plain.reset(1)
    np.testing.assert_array_equal(plain.reset(0).obs.images["y"], frames["plain"])
    plain.close()
    full.close()
