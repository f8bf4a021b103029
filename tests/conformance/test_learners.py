"""Every method with a YAML keeps every promise: a new one is picked up by its file alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from robopolicy.core.build import build
from robopolicy.core.learner import Learner
from robopolicy.core.spec import Spec
from robopolicy.testing import LEARNER_CHECKS, POLICY_CHECKS, ChunkPolicy, tiny_learner, tiny_spec
from robopolicy.testing.learners import losses_are_finite

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "policy").glob("*.yaml"))
SPECS = {"state": tiny_spec(), "all": tiny_spec(images=True, text=True)}


def builder(path: Path) -> Callable[[Spec], Learner]:
    return lambda spec: build(yaml.safe_load(path.read_text()), spec=spec)


def policy(path: Path, spec: Spec) -> ChunkPolicy:
    made = tiny_learner(builder(path), spec, steps=5).eval()
    assert isinstance(made, ChunkPolicy)
    return made


@pytest.mark.parametrize("check", LEARNER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_learner(path: Path, check: Callable) -> None:
    check(builder(path), SPECS["state"])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_learner_of_images_and_text(path: Path) -> None:
    losses_are_finite(builder(path), SPECS["all"])


@pytest.mark.parametrize("observe", SPECS)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_policy(path: Path, observe: str) -> None:
    made = policy(path, SPECS[observe])
    for check in POLICY_CHECKS:
        check(made)
