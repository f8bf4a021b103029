"""How well a demonstrator does: the knobs, and the presets that `quality=` names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robopolicy.core import build
from robopolicy.core.errors import ConfigError
from robopolicy.core.ranges import in_range
from sim.tabletop.task import Style


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What may go wrong, and how often; `robopolicy collect quality=mixed expert.miss=0.5` turns a knob.

    Args:
        description: one line for a list.
        speed: range of the factor on every move's speed, drawn once per episode.
        noise: standard deviation, rad, of a slowly changing error (0.2 s) on every joint's command.
        hesitate: chance per control step of standing still for 5 to 20 steps.
        miss: chance that a try of a grasp misses.
        recover: chance that an episode's misses are noticed and made good.
        play: follow random goals instead of the task; a manner is then drawn for each of them.
    """

    description: str
    speed: tuple[float, float] = (0.9, 1.1)
    noise: float = 0.0
    hesitate: float = 0.0
    miss: float = 0.0
    recover: float = 1.0
    play: bool = False

    def __post_init__(self) -> None:
        in_range("expert", least=0, noise=self.noise)
        in_range("expert", least=0, most=1, hesitate=self.hesitate, miss=self.miss, recover=self.recover)
        if len(self.speed) != 2 or not 0 < self.speed[0] <= self.speed[1] < np.inf:
            raise ConfigError(f"expert: speed is {self.speed}; [slowest, fastest], above 0, is meant")

    def style(self, rng: np.random.Generator) -> Style:
        """The manner of one episode."""
        tries = rng.random(3) < self.miss
        return Style(
            side=int(rng.choice([-1, 1])),
            tilt=float(rng.uniform(1.45, 1.57)),
            lift=float(rng.uniform(0.06, 0.1)),
            miss=tuple(float(m) for m in tries * rng.choice([-1, 1], 3) * rng.uniform(0.03, 0.045, 3)),
            recover=bool(rng.random() < self.recover),
        )


PRESETS = {
    "expert": Quality(description="clean and quick; solves almost every episode", noise=0.004),
    "knocked": Quality(
        description="as expert, with an arm that is knocked now and then; shows the way back", noise=0.004
    ),
    "mixed": Quality(
        description="uneven speed, tremor, pauses and missed grasps, most of them made good",
        speed=(0.5, 1.2),
        noise=0.015,
        hesitate=0.01,
        miss=0.3,
        recover=0.6,
    ),
    "poor": Quality(
        description="slow and shaky; misses half of its grasps and seldom notices",
        speed=(0.4, 0.9),
        noise=0.03,
        hesitate=0.02,
        miss=0.5,
        recover=0.2,
    ),
    "play": Quality(
        description="random goals for a fixed time, no task in mind; uneven speed, some missed grasps",
        speed=(0.7, 1.2),
        noise=0.008,
        miss=0.1,
        recover=0.7,
        play=True,
    ),
}

# Options of the environment in which demonstrations of a quality are collected.
ENV_OPTIONS = {"knocked": {"knocks": 0.1}, "play": {"terminate": False, "time_limit": 600}}


def preset(name: str, knobs: Mapping[str, Any] | None = None) -> Quality:
    """The quality of this name, some of its knobs turned otherwise; see `robopolicy.core.build.preset`."""
    # Whether it plays is the preset itself: the environment's options depend on it.
    return build.preset("quality", PRESETS, name, knobs or {}, fixed=("description", "play"))
