"""How the arm's scenes are played in: the knobs, and the presets that `quality=` names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robopolicy.core import build
from robopolicy.core.ranges import in_range


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How unsteady the hand is; `robopolicy collect quality=noisy expert.noise=0.2` turns a knob.

    Args:
        description: one line for a list.
        plans: follow a plan made when a goal is set, whatever happens; otherwise look each control step.
        noise: of plans, the standard deviation of an error on them, as a share of (0.05 m, 0.3 rad, all of
            the gripper's way); else the most that each episode's noise on actions can be, which is a standard
            deviation, 3 times as large for the yaw and 10 times for the gripper.
        smoothing: of the error on plans, control steps.
        min_norm: m, the least way ahead that is steered for where there are no plans.
        random_action: chance per control step of an action drawn at random; None: that of OGBench's own sets,
            none with plans, else 0.1, or 0.2 in puzzles.
    """

    description: str
    plans: bool
    noise: float = 0.1
    smoothing: float = 0.5
    min_norm: float = 0.4
    random_action: float | None = None

    def __post_init__(self) -> None:
        in_range("expert", least=0, noise=self.noise, smoothing=self.smoothing, min_norm=self.min_norm)
        in_range("expert", least=0, most=1, random_action=self.random_action)


PRESETS = {
    "play": Quality(description="random goals by plans that are followed blindly", plans=True),
    "noisy": Quality(description="random goals with an unsteady hand that looks", plans=False),
}

# What they are recorded in: as long as the episodes of OGBench's sets.
ENV_OPTIONS = {name: {"start": "anywhere", "terminate": False, "time_limit": 1001} for name in PRESETS}


def preset(name: str, knobs: Mapping[str, Any] | None = None) -> Quality:
    """The quality of this name, some of its knobs turned otherwise; see `robopolicy.core.build.preset`."""
    return build.preset("quality", PRESETS, name, knobs or {}, fixed=("description", "plans"))
