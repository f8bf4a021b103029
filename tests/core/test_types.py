"""Rows of observations and batches keep their parts together."""

import numpy as np
import pytest

from robopolicy.core.noise import StepNoise
from robopolicy.core.types import Batch, Observation


def batch(rows: int = 4) -> Batch:
    obs = Observation(
        state=np.arange(rows * 2, dtype=np.float32).reshape(rows, 1, 2),
        images={"front": np.zeros((rows, 1, 3, 8, 8), np.uint8)},
        text=tuple(f"task {i}" for i in range(rows)),
        cond={"advantage": np.arange(rows)},
    )
    view = Batch(obs=obs, action=np.ones((rows, 1, 2)), is_pad=np.zeros((rows, 1), bool))
    return Batch(
        obs=obs,
        action=np.zeros((rows, 3, 2)),
        is_pad=np.zeros((rows, 3), bool),
        index=np.arange(rows),
        extra={"label": np.arange(rows)},
        views={"value": view},
        noise=StepNoise(seed=0, step=0, total=rows),
    )


@pytest.mark.parametrize("rows", [slice(1, 3), np.array([1, 2])])
def test_rows_take_every_part_along_and_drop_the_noise(rows):
    part = batch().rows(rows)
    assert len(part) == 2
    assert part.obs.text == ("task 1", "task 2")
    for taken in (part.index, part.extra["label"], part.obs.cond["advantage"]):
        assert list(taken) == [1, 2]
    assert part["value"].obs.state[0, 0, 0] == 2
    assert part.noise is None


def test_map_reaches_every_array_and_keeps_the_noise():
    whole = batch()
    doubled = whole.map(lambda array: array * 2)
    assert doubled["value"].action[0, 0, 0] == 2
    assert doubled.obs.cond["advantage"][3] == 6
    assert doubled.noise is whole.noise


def test_an_unknown_window_is_named():
    with pytest.raises(KeyError, match=r"critic.*value"):
        batch()["critic"]
