import numpy as np

from sim.tabletop.env import TabletopEnv
from sim.tabletop.state import FIXTURE
from sim.tabletop.tasks import task

TRAVEL = FIXTURE + 4


def test_a_drawer_stays_where_it_is_put():
    env = TabletopEnv(task("drawer_close"))
    begins = []
    for seed in range(5):
        observed, _ = env.reset(seed=seed)
        begins.append(observed["state"][TRAVEL])
        for _ in range(20):
            observed, *_ = env.step(observed["state"][:6])
        assert abs(observed["state"][TRAVEL] - begins[-1]) < 1e-3
    assert 0.04 <= min(begins) < max(begins) <= 0.07


def test_a_button_comes_back_up():
    env = TabletopEnv(task("button"))
    observed, _ = env.reset(seed=0)
    env.data.joint("button").qpos = 0.012
    for _ in range(20):
        observed, *_ = env.step(observed["state"][:6])
    np.testing.assert_allclose(observed["state"][TRAVEL], 0.0, atol=1e-3)
