"""Every recipe of `configs/exp`, two steps long: its keys exist, it learns, and it is as small as is said."""

from pathlib import Path

import numpy as np
import pytest

from robopolicy.cli.compose import compose
from robopolicy.core import checkpoint, suites
from robopolicy.core.share import share
from robopolicy.core.spec import Spec
from robopolicy.core.types import Episode
from robopolicy.data.writer import DatasetWriter
from robopolicy.train.run import train

TASKS = {
    path.stem: compose("train", [f"+exp={path.stem}", "data=nowhere"])["task"]
    for path in sorted(share("configs").joinpath("exp").glob("*.yaml"))
}
# Where a suite is not installed, its own tests are skipped with the command that installs it.
RECIPES = [name for name, task in TASKS.items() if task.partition("/")[0] in suites.suites()[0]]
MOST = 2.3e6  # parameters: "about two million"


def record(folder: Path, spec: Spec) -> Path:
    """Two episodes of noise in the shape of the suite's."""
    random = np.random.default_rng(0)
    with DatasetWriter(folder, spec=spec) as writer:
        for seed in range(2):
            writer.append(
                Episode(
                    state=random.normal(size=(20, len(spec.state))).astype(np.float32),
                    action=spec.action.clip(random.normal(size=(20, len(spec.action)))).astype(np.float32),
                    reward=np.zeros(20, np.float32),
                    images={
                        name: random.integers(0, 256, (20, *image.shape), dtype=np.uint8)
                        for name, image in spec.images.items()
                    },
                    text="do it" if spec.text else "",
                    terminated=True,
                    success=True,
                    source=("expert",) * 20,
                    seed=seed,
                )
            )
    return folder


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_steps_of_a_recipe(recipe: str, tmp_path: Path):
    config = compose("train", [f"+exp={recipe}", f"data={tmp_path / 'data'}", "batch_size=4"])
    env = suites.make_env(suites.members_of(config["task"])[0], observe="all")
    record(tmp_path / "data", env.spec)
    env.close()
    train({**config, "steps": 2, "validation": 0.0}, tmp_path / "run", report=lambda done, of: None)
    learner = checkpoint.load(tmp_path / "run")
    assert bool(learner.spec.images) == (config["observe"] != "state")
    assert sum(p.numel() for p in learner.parameters() if p.requires_grad) < MOST
