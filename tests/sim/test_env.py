import gymnasium
import numpy as np
import pytest

from robopolicy.core.spec import Spec, Vector
from robopolicy.evaluate.blocks import EpisodeRecord
from robopolicy.evaluate.film import Reel, film
from sim.env import GymEnv, spaces
from sim.gl import RenderingError

SPEC = Spec(state=Vector.of({"x": (-1, 1, "m")}), action=Vector.of({"x": (-1, 1, "m")}), control_hz=10)


class Plain(gymnasium.Env):
    """Goes where it is told; nobody wrote how it is drawn."""

    observation_space, action_space = spaces(SPEC)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"state": np.zeros(1, np.float32)}, {"success": False}

    def step(self, action):
        return {"state": action}, 0.0, False, False, {"success": False}


class Dark(Plain):
    """As gymnasium's own environments are without a `render_mode`."""

    def render(self):
        return None


@pytest.mark.parametrize("kind", [Plain, Dark])
def test_an_environment_that_gives_no_picture_is_filmed_from_its_state(kind):
    env, actions = GymEnv(kind(), spec=SPEC), np.zeros((3, 1), np.float32)
    with pytest.raises(RenderingError, match=rf"{kind.__name__} gives no picture; implement its render\(\)"):
        env.render()
    record = EpisodeRecord(seed=0, success=False, length=3, total_reward=0.0, terminated=False)
    shown = film(env, Reel("still", record, actions), count=2)
    assert (shown.drawn, shown.faithful, len(shown.frames)) == (True, True, 2)
