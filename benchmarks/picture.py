"""Makes the README's picture: episodes of tabletop tasks as strips of frames, four moments each.

python benchmarks/picture.py                             # the scripted experts
python benchmarks/picture.py runs/quickstart/latest/eval  # what a trained policy did, replayed
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.image import imsave

from robopolicy.control.loop import run_episode
from robopolicy.core.suites import make_env, make_expert
from robopolicy.core.types import Step
from robopolicy.evaluate.film import films, replay_env

TASKS = ("stack", "drawer")
OUT = Path(__file__).parents[1] / "assets" / "images" / "tabletop.png"
MOMENTS = 4
SEED = 3


class Frames:
    """An observer that renders every step."""

    def __init__(self, env) -> None:
        self.env, self.frames = env, []

    def start(self, row: int, step: Step, seed: int) -> None:
        self.frames = [self.env.render()]

    def step(self, row: int, step: Step) -> None:
        self.frames.append(self.env.render())

    def end(self, row: int) -> None: ...


def of_expert(task: str) -> list[np.ndarray]:
    env = make_env(f"tabletop/{task}")
    shots = Frames(env)
    run_episode(env, make_expert(f"tabletop/{task}", rows=1), [shots], SEED)
    env.close()
    return [
        shots.frames[i]
        for i in np.linspace(0.1 * len(shots.frames), len(shots.frames) - 1, MOMENTS, dtype=int)
    ]


def of_evaluation(folder: Path) -> list[list[np.ndarray]]:
    env = replay_env(folder)
    found = films(folder, env, failures=1, count=MOMENTS)
    env.close()
    return [list(film.frames) for film in found]


def main() -> None:
    strips = of_evaluation(Path(sys.argv[1])) if len(sys.argv) > 1 else [of_expert(task) for task in TASKS]
    rows = []
    for strip in strips:
        height, width = strip[0].shape[:2]
        crop = [frame[height // 10 : height * 9 // 10, width // 10 : width * 9 // 10] for frame in strip]
        rows.append(np.concatenate(crop, axis=1))
    picture = np.concatenate(rows, axis=0)[::2, ::2]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    imsave(OUT, np.ascontiguousarray(picture))
    print(OUT, picture.shape)


if __name__ == "__main__":
    main()
