from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from points import STEPS, record


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("data") / "points")


@pytest.fixture
def config(data: Path) -> dict[str, Any]:
    return {
        "policy": {"_target_": "tiny_components.learners.TinyLearner", "width": 4},
        "data": str(data),
        "steps": STEPS,
        "batch_size": 8,
        "validation": 0.2,
        "log_every": 10,
        "validate_every": 20,
        "checkpoint_every": 7,
        "optim": {"warmup": 3, "groups": {"critic": {"lr": 1e-3}}},
    }
