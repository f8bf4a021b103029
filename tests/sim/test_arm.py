# pyright: reportAttributeAccessIssue=false
import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.tabletop import arm
from sim.tabletop.state import make_spec

LOW, HIGH = arm.limits()


@pytest.fixture(scope="module")
def model():
    return mujoco.MjModel.from_xml_path(str(arm.arm_xml()))


def joints(fraction):
    return LOW + np.array(fraction) * (HIGH - LOW)


FRACTIONS = st.lists(st.floats(0, 1), min_size=6, max_size=6)


@settings(max_examples=100, deadline=None)
@given(FRACTIONS)
def test_closed_forms_agree_with_mujoco(model, fraction):
    data = mujoco.MjData(model)
    data.qpos[:] = wanted = joints(fraction)
    mujoco.mj_forward(model, data)
    pose = arm.forward(wanted)
    approach = data.site("ee").xmat.reshape(3, 3)[:, 0]
    np.testing.assert_allclose(pose[:3], data.site("ee").xpos, atol=1e-9)
    np.testing.assert_allclose(-np.sin(pose[3]), approach[2], atol=1e-9)
    settled = -data.qfrc_bias[:5] / model.actuator_gainprm[:5, 0]
    np.testing.assert_allclose(arm.droop(wanted)[[1, 2, 3]], settled[1:4], atol=1.5e-3)


@settings(max_examples=200, deadline=None)
@given(FRACTIONS)
def test_inverse_undoes_forward(fraction):
    wanted = joints(fraction)
    wanted[2] = max(wanted[2], -1.28)  # the elbow-up half, which is what `inverse` chooses
    pose = arm.forward(wanted)
    ahead = arm.forward(np.array([0.0, *wanted[1:]]))[0]
    if ahead > 0.01:  # behind its own axis the arm has a second pan angle
        np.testing.assert_allclose(arm.forward(arm.inverse(pose)), pose, atol=1e-6)


def test_inverse_is_vectorised_and_keeps_limits_out_of_reach():
    poses = np.random.default_rng(0).uniform(-1, 1, (3, 4, 5))
    found = arm.inverse(poses)
    assert found.shape == (3, 4, 5)
    np.testing.assert_array_equal(found[1, 2], arm.inverse(poses[1, 2]))
    assert (found >= LOW[:5]).all()
    assert (found <= HIGH[:5]).all()


def test_joint_limits_are_the_specs(model):
    spec = make_spec(action_mode="joint", image_size=84)
    names = [model.joint(i).name + ".pos" for i in range(6)]
    assert spec.action.names == tuple(names)
    np.testing.assert_allclose(np.array([spec.action.low, spec.action.high]).T, model.jnt_range, atol=1e-6)
    np.testing.assert_allclose(model.actuator_ctrlrange, model.jnt_range)


def test_servo_has_a_speed_limit_and_droops(model):
    data = mujoco.MjData(model)
    data.ctrl[0] = HIGH[0]
    fastest = 0.0
    for _ in range(200):
        mujoco.mj_step(model, data)
        fastest = max(fastest, data.qvel[0])
    assert 4.0 < fastest < 4.71  # no-load speed of an STS3215 at 7.4 V: 4.71 rad/s

    mujoco.mj_resetData(model, data)
    data.ctrl[:] = data.qpos[:] = [0, 1.0, -0.8, 0, 0, 0]
    for _ in range(400):
        mujoco.mj_step(model, data)
    sag = data.qpos - data.ctrl
    assert 0.01 < sag[1] < 0.05
    np.testing.assert_allclose(sag[:5], arm.droop(data.ctrl), atol=3e-3)
    assert abs(data.qvel).max() < 1e-3
