"""Speed of the tabletop suite on one core: control steps a second while the expert works, and frames.

    python benchmarks/simulation.py [--episodes 40] [--task pick_place ...]

CPU seconds of this process, so that other work on the machine matters little.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

from sim.tabletop import make_env, make_expert
from sim.tabletop.tasks import TASKS


def steps(task: str, episodes: int) -> tuple[float, float]:
    """Control steps per CPU second: of the env alone, and of env and expert together."""
    env, expert = make_env(task), make_expert(task)
    count, in_env, in_expert = 0, 0.0, 0.0
    for seed in range(episodes):
        step = env.reset(seed)
        expert.reset([0], [seed])
        while not step.done:
            begin = time.process_time()
            action = expert.act([step])[0]
            middle = time.process_time()
            step = env.step(action)
            in_env += time.process_time() - middle
            in_expert += middle - begin
            count += 1
    env.close()
    return count / in_env, count / (in_env + in_expert)


def frame_ms(task: str, frames: int) -> float:
    """CPU milliseconds per 84 px frame."""
    alone, seen = make_env(task), make_env(task, observe="all")
    spent = {}
    for name, env in (("without", alone), ("with", seen)):
        step = env.reset(0)
        action = step.obs.state[:6]
        env.step(action)
        begin = time.process_time()
        for _ in range(frames):
            env.step(action)
        spent[name] = (time.process_time() - begin) / frames * 1e3
        env.close()
    return (spent["with"] - spent["without"]) / len(seen.spec.images)


def main() -> None:
    """Print one line a task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", nargs="+", default=list(TASKS))
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--frames", type=int, default=200)
    args = parser.parse_args()
    for task in args.task:
        env, both = steps(task, args.episodes)
        line = f"{task:12s} {env:7.0f} control steps/s env.step   {both:7.0f} with the expert"
        if args.frames:
            line += f"   {frame_ms(task, args.frames):5.2f} ms per 84 px frame"
        print(line)


if __name__ == "__main__":
    main()
