import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robopolicy.core.machine import GL
from sim import gl
from sim.tabletop import make_env
from sim.tabletop.env import TabletopEnv
from sim.tabletop.tasks import task

needs_gl = pytest.mark.skipif(
    os.environ.get("MUJOCO_GL") == "disabled", reason=f"no GL library; {GL['egl']} mends it"
)


@needs_gl
def test_cameras_see_the_scene_and_do_not_change_it():
    seeing, blind = make_env("pick_place", observe="all"), make_env("pick_place")
    first, _ = seeing.reset(1), blind.reset(1)
    action = first.obs.state[:6] + 0.1
    for _ in range(5):
        second, other = seeing.step(action), blind.step(action)
    np.testing.assert_array_equal(second.obs.state, other.obs.state)
    for camera in ("front", "wrist"):
        assert first.obs.images[camera].shape == (3, 84, 84)
        assert first.obs.images[camera].dtype == np.uint8
        assert not np.shares_memory(first.obs.images[camera], second.obs.images[camera])
        assert (first.obs.images[camera] != second.obs.images[camera]).any()
    red, green, blue = first.obs.images["front"].astype(int)
    assert ((red > 150) & (green < 90) & (blue < 90)).sum() > 4, "the red cube"
    assert ((blue > 150) & (red < 90)).sum() > 15, "the blue zone"
    assert TabletopEnv(task("push")).render().shape == (480, 640, 3)
    seeing.close()
    seeing.close()


@needs_gl
def test_pixels_hide_where_things_are():
    env = make_env("push", observe="pixels", image_size=64)
    step = env.reset(0)
    assert not any(name.startswith("env.") for name in env.spec.state.names)
    assert step.obs.state.shape == (len(env.spec.state),)
    assert step.obs.images["wrist"].shape == (3, 64, 64)
    env.close()


def test_without_gl_the_error_says_what_to_install():
    code = (
        "from sim.tabletop import make_env\n"
        "from robopolicy.core.errors import UserError\n"
        "env = make_env('pick', observe='all')\n"
        "try: env.reset(0)\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "MUJOCO_GL": "disabled"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert GL["egl"] in done.stdout
    assert "observe='state'" in done.stdout


def test_a_chosen_backend_is_respected(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert gl.choose() == "osmesa"
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setattr(gl, "loads", lambda backend: False)
    assert gl.choose() == "disabled"
