import numpy as np
import pytest

from robopolicy.core.errors import ConfigError, SpecMismatchError
from robopolicy.data.lerobot import open_dataset
from robopolicy.train.collect import collect
from sim.tabletop import make_env, make_expert, relabel, state, suite


def played(task, seed, **options):
    """States `[L S]` and rewards `[L]` of an episode of play; the states are those before each action."""
    env = make_env(task, **{**suite.env_options["play"], **options})
    player = make_expert(task, quality="play")
    step = env.reset(seed)
    player.reset([0], [seed])
    states, rewards = [], []
    while not step.done:
        states.append(step.obs.state)
        step = env.step(player.act([step])[0])
        rewards.append(step.reward)
    assert step.truncated
    return np.stack(states), np.array(rewards)


def test_play_lasts_its_time_whatever_it_solves_and_is_relabelled_for_any_task():
    limit = suite.env_options["play"]["time_limit"]
    picked = solved = 0
    for seed in range(3):
        states, rewards = played("pick_place", seed)
        assert len(states) == limit
        again, success = relabel("pick_place", states, state.NAMES)
        np.testing.assert_array_equal(again[:-1], rewards[:-1])
        solved += success.any() and not success.all()
        picked += relabel("pick", states, state.NAMES)[1].any()
    assert picked == 3
    assert solved >= 1


def test_a_seed_fixes_play_and_seeds_differ():
    first, again, other = (played("stack", seed, time_limit=150)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.05


@pytest.mark.parametrize("task", [name for name in ("drawer", "button") if name in suite.tasks])
def test_play_works_fixtures(task):
    states, _ = played(task, 0)
    assert np.ptp(states[:, state.NAMES.index("env.fixture.travel")]) > 0.005


def test_collecting_play_uses_its_environment(tmp_path):
    out = collect("tabletop/reach", 1, "play", tmp_path / "play", env_options={"time_limit": 90})
    store = open_dataset(out).load("state")
    assert (store.episode_stop - store.episode_start).tolist() == [90]
    assert not store.terminated.any()


def test_what_was_not_recorded_is_not_relabelled():
    seen = make_env("push", observe="pixels").spec.state.names
    with pytest.raises(SpecMismatchError, match=r"observe='state'"):
        relabel("push", np.zeros((5, len(seen))), seen)
    with pytest.raises(ConfigError, match="time_limit is 0"):
        make_env("push", time_limit=0)
