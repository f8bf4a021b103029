import multiprocessing
from functools import partial

import numpy as np
import pytest
from pointmass import PointMass, ToGoal

from robopolicy.control.executor import Executor
from robopolicy.control.loop import run_episodes
from robopolicy.control.parallel import WorkerEnvs
from robopolicy.control.record import Recorder
from robopolicy.control.workers import WorkerError
from robopolicy.core.errors import UserError


class Brittle(PointMass):
    def step(self, action):
        if self.count == 3:
            raise UserError("the table has only three legs")
        return super().step(action)


def make_impossible() -> PointMass:
    if multiprocessing.parent_process() is not None:
        raise RuntimeError("no second table")
    return PointMass()


def test_envs_in_workers_are_the_same_as_envs_here():
    """Every array of every recorded step, images included, with rows that end at different times."""
    seeds, recorded = [3, 4, 5], {}
    make = partial(PointMass, cameras=True)
    serial = [make() for _ in range(4)]
    parallel = WorkerEnvs(make, rows=4, workers=2)
    for name, envs in (("serial", serial), ("parallel", parallel)):
        for round_ in (0, 1):  # reset again after the end; the fourth row is left alone
            episodes = recorded.setdefault(name, [])
            recorder = Recorder(parallel.spec, episodes.append, columns=("distance",))
            agent = Executor(ToGoal(shake=0.3), env_spec=parallel.spec)
            run_episodes(envs, agent, [seed + round_ for seed in seeds], [recorder])
    processes = list(parallel._processes)
    parallel.close()
    parallel.close()
    assert not any(process.is_alive() for process in processes)
    assert len(recorded["serial"]) == 6
    for here, there in zip(recorded["serial"], recorded["parallel"], strict=True):
        for name in ("state", "action", "reward"):
            assert np.array_equal(getattr(here, name), getattr(there, name))
        assert np.array_equal(here.images["top"], there.images["top"])
        assert np.array_equal(here.columns["distance"], there.columns["distance"])
        assert (here.text, here.seed, here.success) == (there.text, there.seed, there.success)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [(Brittle, UserError, "three legs"), (make_impossible, WorkerError, "no second table")],
)
def test_a_failing_worker_says_why(make, error, message):
    envs = WorkerEnvs(make, rows=1, workers=1)
    try:
        with pytest.raises(error, match=message):
            run_episodes(envs, Executor(ToGoal(), env_spec=envs.spec), [1])
    finally:
        envs.close()
