"""Where on the table things begin: a ring sector in which the hand can point straight down."""

from __future__ import annotations

import numpy as np

RADIUS = (0.14, 0.24)  # m from the pan axis
ANGLE = 0.8  # rad to either side


def spot(
    rng: np.random.Generator,
    *,
    away_from: tuple[np.ndarray, ...] = (),
    by: float = 0.08,
    margin: float = 0.0,
) -> np.ndarray:
    """A random place `[2]`, `margin` m inside the ring's edges and at least `by` m from other places."""
    near, far = RADIUS[0] + margin, RADIUS[1] - margin
    while True:
        radius = np.sqrt(rng.uniform(near**2, far**2))
        angle = rng.uniform(-ANGLE, ANGLE)
        place = radius * np.array([np.cos(angle), np.sin(angle)])
        if all(np.linalg.norm(place - other) >= by for other in away_from):
            return place
