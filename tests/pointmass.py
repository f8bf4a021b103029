"""A point commanded in the plane: an environment small enough to reason about, and a policy for it.

It succeeds within 5 cm of a goal that the seed places; a step moves it by 2 cm at most.
"""

from __future__ import annotations

import numpy as np
import torch

from robopolicy.core.spec import Image, Spec, Vector
from robopolicy.core.types import Observation, Step

CAMERA = {"top": Image(height=4, width=4)}
SPEC = Spec(
    state=Vector.of(
        {
            "x": (-1, 1, "m"),
            "y": (-1, 1, "m"),
            "env.goal.x": (-1, 1, "m"),
            "env.goal.y": (-1, 1, "m"),
        }
    ),
    action=Vector.of({"x": (-1, 1, "m"), "y": (-1, 1, "m")}),
    control_hz=30,
    text=True,
)


class PointMass:
    """Deterministic; ends at the goal or after `limit` steps."""

    def __init__(self, *, limit: int = 60, cameras: bool = False) -> None:
        self.spec = Spec(
            state=SPEC.state,
            action=SPEC.action,
            control_hz=30,
            text=True,
            images=CAMERA if cameras else {},
        )
        self.limit, self.closed, self.commands = limit, False, []

    def reset(self, seed: int) -> Step:
        rng = np.random.default_rng(seed)
        self.position, self.goal = np.zeros(2), rng.uniform(-0.8, 0.8, 2)
        self.count, self.commands = 0, []
        return Step(obs=self._obs(), info={"success": False})

    def step(self, action: np.ndarray) -> Step:
        self.commands.append(np.array(action))
        self.count += 1
        wanted = np.clip(action, -1, 1).astype(np.float64)
        move = wanted - self.position
        self.position = self.position + move * min(1.0, 0.02 / max(float(np.linalg.norm(move)), 1e-9))
        distance = float(np.linalg.norm(self.goal - self.position))
        success = distance < 0.05
        return Step(
            obs=self._obs(),
            reward=-distance,
            terminated=success,
            truncated=not success and self.count >= self.limit,
            proposed=action,
            applied=np.clip(action, -1, 1),
            info={"success": success, "distance": distance},
        )

    def close(self) -> None:
        self.closed = True

    def _obs(self) -> Observation:
        shade = np.full((3, 4, 4), self.count, np.uint8)
        return Observation(
            state=np.concatenate([self.position, self.goal]).astype(np.float32),
            images={"top": shade} if self.spec.images else {},
            text=("reach the goal",),
        )


def make_long() -> PointMass:
    return PointMass(limit=60)


class ToGoal(torch.nn.Module):
    """A chunk policy that commands the goal, shaken by noise; `skill` 0 commands the start."""

    def __init__(
        self, *, skill: float = 1.0, shake: float = 0.0, horizon: int = 8, obs_steps: int = 1
    ) -> None:
        super().__init__()
        self.spec, self.shake, self.horizon, self.obs_steps = SPEC, shake, horizon, obs_steps
        self.skill = torch.nn.Parameter(torch.tensor(skill))
        self.seen: list[Observation] = []

    @torch.no_grad()
    def sample(self, obs, n=1, *, prefix=None, noise=None):
        self.seen.append(obs)
        rows = len(obs.state)
        noise = noise.normal(rows, n, self.horizon, 2) if noise else torch.zeros(rows, n, self.horizon, 2)
        return self.skill * obs.state[:, -1, None, None, 2:] + self.shake * noise
