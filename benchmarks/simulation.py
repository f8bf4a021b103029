"""Speed of simulated tasks on one core, in control steps and frames; how often the expert succeeds.

    python -m benchmarks.simulation [--task tabletop/pick_place dm_control/walker-walk ...] [--quality expert]

A task without an expert is moved at random. CPU seconds of this process, so that other work on the machine
matters little. By default the tasks of tabletop.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from robopolicy.core.errors import ConfigError
from robopolicy.core.protocols import Agent
from robopolicy.core.spec import Spec
from robopolicy.core.suites import find, make_env, make_expert
from robopolicy.core.types import Step
from robopolicy.evaluate.stats import clopper_pearson
from robopolicy.testing.envs import random_actions


class Shaken:
    """Moves one row at random, within the bounds."""

    def __init__(self, spec: Spec) -> None:
        self._actions = random_actions(spec, 1000)
        self._tick = 0

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        self._tick = 0

    def act(self, steps: Sequence[Step]) -> np.ndarray:
        self._tick += 1
        return self._actions[self._tick % len(self._actions)][None]


def steps(task: str, quality: str, episodes: int) -> tuple[float, float, int | None]:
    """Control steps per CPU second, of the env alone and of env and expert together, and solved episodes."""
    env = make_env(task)
    try:
        agent: Agent = make_expert(task, quality=quality, spec=env.spec)
    except ConfigError:  # it has none
        agent = Shaken(env.spec)
    count, solved, in_env, in_agent = 0, 0, 0.0, 0.0
    for seed in range(episodes):
        step = env.reset(seed)
        agent.reset([0], [seed])
        while not step.done:
            begin = time.process_time()
            action = agent.act([step])[0]
            middle = time.process_time()
            step = env.step(action)
            in_env += time.process_time() - middle
            in_agent += middle - begin
            count += 1
        solved += step.info["success"]
    env.close()
    return count / in_env, count / (in_env + in_agent), None if isinstance(agent, Shaken) else solved


def frame_ms(task: str, frames: int) -> float:
    """CPU milliseconds per 84 px frame."""
    alone, seen = make_env(task), make_env(task, observe="all")
    spent = {}
    for name, env in (("without", alone), ("with", seen)):
        env.reset(0)
        action = env.spec.action.clip(np.zeros(len(env.spec.action), np.float32))
        env.step(action)
        begin = time.process_time()
        for _ in range(frames):
            env.step(action)
        spent[name] = (time.process_time() - begin) / frames * 1e3
        env.close()
    return (spent["with"] - spent["without"]) / len(seen.spec.images)


def main() -> None:
    """Print one line a task."""
    tabletop = [f"tabletop/{name}" for name in find("tabletop/reach")[0].tasks]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", nargs="+", default=tabletop)
    parser.add_argument("--quality", default="expert")
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--frames", type=int, default=100)
    args = parser.parse_args()
    for task in args.task:
        env, both, solved = steps(task, args.quality, args.episodes)
        line = f"{task:32s} {env:7.0f} control steps/s env.step"
        if solved is not None:
            low, high = clopper_pearson(solved, args.episodes)
            line += f"   {both:7.0f} with the expert, who solves {solved} of {args.episodes}"
            line += f" ({100 * low:.0f} to {100 * high:.0f} %)"
        if args.frames:
            line += f"   {frame_ms(task, args.frames):5.2f} ms per 84 px frame"
        print(line, flush=True)


if __name__ == "__main__":
    main()
