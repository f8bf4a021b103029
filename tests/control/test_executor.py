from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pointmass import SPEC, PointMass, ToGoal

from robopolicy.control.clock import SimClock
from robopolicy.control.executor import Executor
from robopolicy.control.loop import run_episode, run_episodes
from robopolicy.core.errors import ConfigError, SpecMismatchError
from robopolicy.core.spec import ActionSemantics, Spec, Vector


@given(latency=st.integers(0, 5), asked=st.lists(st.booleans(), min_size=1, max_size=30))
def test_the_clock_delivers_each_result_once_and_latency_ticks_later(latency, asked):
    clock: SimClock[int] = SimClock(latency_ticks=latency)
    arrived = []
    for tick, asks in enumerate(asked + [False] * latency):
        if asks:
            clock.submit(lambda tick=tick: tick)
        arrived += [(result, tick) for result in clock.collect()]
        clock.advance()
    assert arrived == [(tick, tick + latency) for tick, asks in enumerate(asked) if asks]


@settings(max_examples=25, deadline=None)
@given(execute=st.integers(1, 8), latency=st.integers(0, 4), seed=st.integers(0, 50))
def test_open_loop_with_latency_follows_the_schedule(execute, latency, seed):
    """Ask, wait, execute: each period is latency + execute ticks, and each waiting tick is an underrun."""
    env, policy = PointMass(limit=50), ToGoal(shake=0.1)
    agent = Executor(policy, env_spec=env.spec, execute=execute, latency_ticks=latency)
    outcome = run_episode(env, agent, seed=seed)
    period = execute + latency
    waited = sum(tick % period < latency for tick in range(outcome.length))
    assert agent.underruns == [waited]
    assert len(policy.seen) == -(-outcome.length // period)
    for tick, command in enumerate(env.commands):
        if tick < latency:
            assert np.array_equal(command, [0, 0])  # the position it began at
        elif tick % period < latency:
            assert np.array_equal(command, env.commands[tick - 1])


@pytest.mark.parametrize("latency", [0, 3])
def test_all_rows_share_one_call_of_fixed_size(latency):
    seeds = [0, 1, 2]
    envs, policy = [PointMass() for _ in seeds], ToGoal(shake=0.3)
    agent = Executor(policy, env_spec=SPEC, latency_ticks=latency, batch=4)
    longest = max(outcome.length for outcome in run_episodes(envs, agent, seeds))
    assert {len(obs.state) for obs in policy.seen} == {4}
    assert {len(obs.text or ()) for obs in policy.seen} == {4}
    assert len(policy.seen) == -(-longest // (4 + latency))


def test_rows_may_begin_again_on_their_own_and_late_chunks_of_the_past_are_dropped():
    envs = [PointMass(), PointMass()]
    agent = Executor(ToGoal(), env_spec=SPEC, execute=2, latency_ticks=2)
    steps = [env.reset(seed) for env, seed in zip(envs, (1, 2), strict=True)]
    agent.reset([0, 1], [1, 2])
    agent.act(steps)
    steps[1] = envs[1].reset(9)
    agent.reset([1], [9])
    agent.act(steps)
    third = agent.act(steps)  # row 0's chunk is here; row 1's first was for another episode
    assert np.allclose(third[0], envs[0].goal)
    assert np.array_equal(third[1], [0, 0])
    assert np.allclose(agent.act(steps)[1], envs[1].goal)


def test_the_history_is_padded_with_the_first_frame_and_oldest_first():
    env, policy = PointMass(cameras=True), ToGoal(obs_steps=3)
    policy.spec = env.spec
    run_episode(env, Executor(policy, env_spec=env.spec, execute=1), seed=4, max_steps=3)
    shades = [obs.images["top"][0, :, 0, 0, 0].tolist() for obs in policy.seen]
    assert shades == [[0, 0, 0], [0, 0, 1], [0, 1, 2]]
    assert policy.seen[0].state.shape == (1, 3, 4)
    assert policy.seen[0].images["top"].dtype == torch.uint8


def test_states_are_picked_by_name():
    names = ("env.goal.x", "env.goal.y", "y", "x")
    env, policy = PointMass(), ToGoal()
    policy.spec = Spec(state=SPEC.state.select(names), action=SPEC.action, control_hz=30)
    run_episode(env, Executor(policy, env_spec=env.spec), seed=4, max_steps=1)
    assert np.allclose(policy.seen[0].state[0, 0], [*env.goal, 0, 0])
    assert policy.seen[0].text is None


def test_what_does_not_fit_is_refused_before_anything_moves():
    other = Spec(state=SPEC.state, action=SPEC.action, control_hz=30, semantics=ActionSemantics(mode="delta"))
    with pytest.raises(SpecMismatchError, match=r"'mode'.*absolute.*delta"):
        Executor(ToGoal(), env_spec=other)
    with pytest.raises(ConfigError, match=r"execute is 9.*hold 8"):
        Executor(ToGoal(), env_spec=SPEC, execute=9)
    Executor(ToGoal(), env_spec=SPEC, latency_ticks=7)
    with pytest.raises(ConfigError, match=r"latency_ticks is 8.*hold 8.*choose 0 to 7"):
        Executor(ToGoal(), env_spec=SPEC, latency_ticks=8)
    policy = ToGoal()
    policy.spec = replace(SPEC, semantics=ActionSemantics(mode="relative"))
    Executor(policy, env_spec=policy.spec)
    with pytest.raises(ConfigError, match="relative to their chunk's start"):
        Executor(policy, env_spec=policy.spec, latency_ticks=1)
    elsewhere = Vector.of({"a": (-1, 1, "m")})
    policy.spec = Spec(state=SPEC.state, action=elsewhere, control_hz=30)
    with pytest.raises(ConfigError, match=r"hold still.*\['a'\]"):
        Executor(policy, env_spec=policy.spec, latency_ticks=1)
