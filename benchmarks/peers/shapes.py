"""The sizes at which both sides are measured. State only: robot 6, world 9, action 6."""

from __future__ import annotations

from typing import Any

BATCH, ROBOT, WORLD, ACTION = 64, 6, 9, 6
UNET: dict[str, Any] = {"obs_steps": 2, "horizon": 16, "widths": (64, 128, 256), "steps": 10}
ACT: dict[str, Any] = {
    "horizon": 50,
    "width": 256,
    "feedforward": 1024,
    "encoder_layers": 4,
    "decoder_layers": 1,
}
