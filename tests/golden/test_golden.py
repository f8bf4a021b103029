"""A refactoring leaves every method's first losses as they were."""

from __future__ import annotations

import json

import pytest
from golden.update import CONFIGS, GOLDEN, mean_loss


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_losses_are_unmoved(config) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert config.stem in golden, (
        f"new method: run `python tests/golden/update.py` to give {config.stem} a number"
    )
    assert mean_loss(config) == pytest.approx(golden[config.stem], rel=1e-5)


def test_every_number_has_a_method() -> None:
    assert set(json.loads(GOLDEN.read_text())) <= {path.stem for path in CONFIGS}
