"""A tiny dataset, a run on it, and ways to end one early."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_components.learners import TinyLearner

from robopolicy.core.spec import Spec, Vector
from robopolicy.core.types import Episode
from robopolicy.data.writer import DatasetWriter
from robopolicy.train.run import train

SPEC = Spec(
    state=Vector.of({"x": (-1, 1, "1"), "y": (-1, 1, "1")}),
    action=Vector.of({"u": (-1, 1, "1")}),
    control_hz=30.0,
)
STEPS = 60


def record(folder: Path, episodes: int = 6, spec: Spec = SPEC) -> Path:
    rng = np.random.default_rng(0)
    with DatasetWriter(folder, spec=spec) as writer:
        for seed in range(episodes):
            state = rng.uniform(-1, 1, (12, 2)).astype(np.float32)
            writer.append(
                Episode(
                    state=state,
                    action=state[:, :1] * 0.5,
                    reward=np.zeros(12, np.float32),
                    terminated=False,
                    success=False,
                    source=("expert",) * 12,
                    seed=seed,
                )
            )
    return folder


def quiet(done: int, of: int) -> None:
    """Shows nothing."""


def run(config: Mapping[str, Any], out: Path, report: Callable[[int, int], object] = quiet) -> Path:
    return train(config, out, report=report)


def bits(out: Path) -> tuple[bytes, bytes]:
    """All that decides how a run goes on."""
    last = out / "checkpoints" / "last"
    return (last / "model.safetensors").read_bytes(), (last / "train.safetensors").read_bytes()


def stop_at_step(monkeypatch: pytest.MonkeyPatch, at: int, *numbers: int) -> None:
    """Send this process signals in the midst of a step."""
    real = TinyLearner.after

    def after(self: TinyLearner, group: str, step: int) -> None:
        real(self, group, step)
        if step == at and group == "critic":
            for number in numbers:
                os.kill(os.getpid(), number)

    monkeypatch.setattr(TinyLearner, "after", after)
