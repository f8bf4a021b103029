from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pointmass import PointMass, ToGoal

from robopolicy.control.executor import Executor
from robopolicy.control.loop import SerialEnvs, run_episode, run_episodes
from robopolicy.control.record import Recorder, Replay
from robopolicy.core.types import Step


class Diary:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple] = []

    def start(self, row: int, step: Step, seed: int) -> None:
        self.told.append(("start", row, seed))

    def step(self, row: int, step: Step) -> None:
        self.told.append(("step", row, step.done))

    def end(self, row: int) -> None:
        self.told.append(("end", row))


def executor(env: PointMass, **options) -> Executor:
    return Executor(ToGoal(shake=0.3), env_spec=env.spec, **options)


@settings(max_examples=20, deadline=None)
@given(seeds=st.lists(st.integers(0, 10_000), min_size=1, max_size=5), cut=st.none() | st.integers(1, 70))
def test_a_row_is_the_same_alone_and_in_company(seeds, cut):
    envs = [PointMass() for _ in seeds]
    together = run_episodes(envs, executor(envs[0], batch=5), seeds, max_steps=cut)
    for env, outcome in zip(envs, together, strict=True):
        alone = PointMass()
        expected = run_episode(alone, executor(alone, batch=5), seed=outcome.seed, max_steps=cut)
        assert outcome == expected
        assert np.array_equal(env.commands, alone.commands)
        assert outcome.length == len(env.commands) <= (cut or 60)


def test_rows_freeze_when_done_and_observers_hear_each_step_once():
    seeds = [0, 1, 2, 3]
    diary, envs = Diary(), [PointMass() for _ in seeds]
    outcomes = run_episodes(envs, executor(envs[0]), seeds, [diary])
    assert len({outcome.length for outcome in outcomes}) > 1  # or nothing could freeze
    for row, outcome in enumerate(outcomes):
        told = [entry for entry in diary.told if entry[1] == row]
        assert told[0] == ("start", row, seeds[row])
        assert told[1:-1] == [("step", row, False)] * (outcome.length - 1) + [("step", row, True)]
        assert told[-1] == ("end", row)
        assert envs[row].count == outcome.length


def test_a_cut_episode_is_truncated_for_the_observers_too():
    env, diary = PointMass(), Diary()
    outcome = run_episode(env, executor(env), [diary], seed=3, max_steps=2)
    assert outcome.length == 2
    assert not outcome.terminated
    assert diary.told[-2:] == [("step", 0, True), ("end", 0)]


def test_a_policy_that_diverged_is_named_not_obeyed():
    env = PointMass()
    policy = ToGoal(skill=float("nan"))
    with pytest.raises(ValueError, match="row 0 at step 0"):
        run_episode(env, Executor(policy, env_spec=env.spec), seed=1)
    assert env.count == 0


def test_wrong_shapes_are_refused():
    class Flat:
        def reset(self, rows, seeds) -> None: ...

        def act(self, steps) -> np.ndarray:
            return np.zeros(2)

    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        run_episode(PointMass(), Flat(), seed=0)
    with pytest.raises(ValueError, match="2 seeds for 1 environments"):
        run_episodes([PointMass()], Flat(), [0, 1])


def test_a_recording_replays_to_the_same_episode():
    episodes, again, seeds = [], [], [5, 6, 7]
    envs = [PointMass(cameras=True) for _ in seeds]
    recorder = Recorder(envs[0].spec, episodes.append, columns=("distance",))
    outcomes = run_episodes(envs, executor(envs[0]), seeds, [recorder])
    by_seed = {episode.seed: episode for episode in episodes}
    group = SerialEnvs(envs)
    replay = Replay([by_seed[seed].action for seed in seeds])
    assert run_episodes(group, replay, seeds, [Recorder(group.spec, again.append)]) == outcomes
    for episode in again:
        first = by_seed[episode.seed]
        assert np.array_equal(episode.state, first.state)
        assert np.array_equal(episode.images["top"], first.images["top"])
        assert (episode.success, episode.terminated) == (first.success, first.terminated)
        # the frame is the observation before the action: the first shows the reset
        assert episode.images["top"][0].max() == 0
        assert len(first.columns["distance"]) == len(first) == len(first.reward) == len(first.source)
        assert first.text == "reach the goal"
    group.close()
    assert all(env.closed for env in envs)


def test_what_was_applied_is_recorded_not_what_was_asked():
    class Hasty(PointMass):
        def step(self, action):
            return replace(super().step(action), applied=np.full(2, 0.25))

    episodes, env = [], Hasty()
    run_episode(env, executor(env), [Recorder(env.spec, episodes.append)], seed=0)
    assert (episodes[0].action == 0.25).all()
