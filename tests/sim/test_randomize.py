# pyright: reportAttributeAccessIssue=false
import numpy as np
import pytest

from robopolicy.core.errors import ConfigError, UnknownNameError
from sim.tabletop import make_env, make_expert
from sim.tabletop.randomize import USUAL, ranges
from sim.tabletop.scene import OBJECT_SETS
from sim.tabletop.tasks import TASKS, task


def trace(env, seed, steps=40, expert=None):
    step = env.reset(seed)
    expert = expert or make_expert("pick")
    expert.reset([0], [seed])
    states = [step.obs.state]
    for _ in range(steps):
        step = env.step(expert.act([step])[0])
        states.append(step.obs.state)
    return np.stack(states)


def drawn(env):
    """What randomisation has made of a model."""
    model = env.env.model
    fields = (
        model.geom_friction,
        model.body_mass,
        model.light_diffuse,
        model.light_dir,
        model.cam_pos,
        model.cam_quat,
    )
    return [field.copy() for field in fields]


def first_effect(env, seed):
    """The number of control steps after which an action first shows."""
    traces = []
    for change in (0.2, -0.2):
        start = env.reset(seed).obs.state
        action = start[:6] + change
        traces.append(np.stack([env.step(action).obs.state for _ in range(6)]))
    return int((traces[0] != traces[1]).any(axis=1).argmax())


def test_nothing_is_random_unless_asked_for():
    plain = make_env("pick")
    states = trace(plain, 3)
    for env in (make_env("pick", randomize={}), make_env("pick", randomize=False)):
        env.reset(9)
        np.testing.assert_array_equal(trace(env, 3), states)
    before = drawn(plain)
    plain.reset(4)
    for old, new in zip(before, drawn(plain), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_seed_fixes_what_is_drawn_and_seeds_differ():
    env, other = (make_env("pick", randomize=True) for _ in range(2))
    first = trace(env, 3)
    look = drawn(env)
    other.reset(8)
    np.testing.assert_array_equal(trace(other, 3), first)
    for mine, theirs in zip(look, drawn(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    env.reset(4)
    for old, new in zip(look, drawn(env), strict=True):
        assert not np.array_equal(old, new)
    np.testing.assert_array_equal(
        first[0], make_env("pick").reset(3).obs.state
    )  # the start is the nominal one


def test_draws_keep_their_ranges_and_are_not_compounded():
    env, nominal = make_env("pick", randomize=True), make_env("pick")
    cube = nominal.env.model.body("cube").id
    masses = []
    for seed in range(40):
        env.reset(seed)
        model, base = env.env.model, nominal.env.model
        masses.append(model.body_mass[cube] / base.body_mass[cube])
        np.testing.assert_allclose(model.body_inertia[cube], base.body_inertia[cube] * masses[-1])
        np.testing.assert_allclose(model.body_invweight0[cube], base.body_invweight0[cube] / masses[-1])
        friction = model.geom_friction / base.geom_friction
        np.testing.assert_allclose(friction, friction[0, 0])
        assert USUAL.friction[0] <= friction[0, 0] <= USUAL.friction[1]
        assert np.abs(model.cam_pos - base.cam_pos).max() <= USUAL.camera_shift[1]
    assert USUAL.mass[0] <= min(masses) < 0.8
    assert 1.4 < max(masses) <= USUAL.mass[1]


@pytest.mark.parametrize("mode", ["joint", "ee"])
@pytest.mark.parametrize("delay", [0, 1, 2])
def test_a_delay_of_k_steps_delays_by_k_steps(mode, delay):
    env = make_env("reach", randomize={"delay": [delay, delay]}, action_mode=mode)
    assert [first_effect(env, seed) for seed in range(3)] == [delay] * 3


def test_delays_from_0_to_2_all_occur():
    env = make_env("reach", randomize={"delay": (0, 2)})
    assert {first_effect(env, seed) for seed in range(12)} == {0, 1, 2}


def test_the_expert_copes_with_what_varies():
    for options in ({"randomize": True}, {"objects": "held_out"}):
        env, expert = make_env("pick_place", **options), make_expert("pick_place")
        for seed in range(3):
            step = env.reset(seed)
            expert.reset([0], [seed])
            while not step.done:
                step = env.step(expert.act([step])[0])
            assert step.info["success"]


@pytest.mark.parametrize("name", list(TASKS))
def test_held_out_objects_are_none_of_the_training_set(name):
    training, held_out = make_env(name), make_env(name, objects="held_out")
    assert training.spec == held_out.spec
    start, other = training.reset(0).obs.state, held_out.reset(0).obs.state
    sizes = [training.spec.state.names.index(f"env.object{i}.size") for i in range(4)]
    scale = OBJECT_SETS["held_out"].scale
    assert scale != OBJECT_SETS["training"].scale
    np.testing.assert_allclose(other[sizes], start[sizes] * scale, rtol=1e-6)
    for prop in task(name).props:
        colours = [_geoms(env.env.model, prop.name, "geom_rgba") for env in (training, held_out)]
        assert len(colours[0]) > 0
        assert (np.abs(colours[0][:, :3] - colours[1][:, :3]).max(axis=1) > 0.04).all()
        one, two = (_geoms(env.env.model, prop.name, "geom_size") for env in (training, held_out))
        np.testing.assert_allclose(two, one * (scale if prop.role == "object" else 1.0))


def _geoms(model, body, field):
    """A field of the geoms of a body and of what moves on it."""
    tree = {model.body(body).id}
    for child in range(model.nbody):
        if model.body_parentid[child] in tree:
            tree.add(child)
    return getattr(model, field)[np.isin(model.geom_bodyid, list(tree))]


@pytest.mark.parametrize(
    ("chosen", "error", "told"),
    [
        ({"frictoin": [1, 2]}, UnknownNameError, "friction"),
        ({"mass": [2, 1]}, ConfigError, "randomize.mass"),
        ({"mass": 2.0}, ConfigError, "randomize.mass"),
        ({"light": [0, 1]}, ConfigError, "factors above 0"),
        ({"delay": [0, 1.5]}, ConfigError, "whole control steps"),
        ({"delay": [-1, 1]}, ConfigError, "whole control steps"),
        ({"camera_turn": ["a", "b"]}, ConfigError, "randomize.camera_turn"),
        ("yes", ConfigError, "true, false or a mapping"),
    ],
)
def test_mistakes_name_the_fix(chosen, error, told):
    with pytest.raises(error, match=told):
        ranges(chosen)
    with pytest.raises(UnknownNameError, match="held_out"):
        make_env("pick", objects="heldout")
