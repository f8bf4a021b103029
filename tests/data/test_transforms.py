"""Augmentation: frames move as wholes, all of a row alike, and the same at the same step."""

import numpy as np
import pytest

from robopolicy.core.errors import ConfigError
from robopolicy.core.types import Batch, Observation
from robopolicy.data.transforms import RandomShift


def batch_of(frames: np.ndarray) -> Batch:
    rows = len(frames)
    obs = Observation(
        state=np.zeros((rows, 1, 2), np.float32), images={"front": frames, "wrist": frames[..., ::-1]}
    )
    plain = Batch(obs=obs, action=np.zeros((rows, 1, 1)), is_pad=np.zeros((rows, 1), bool), next_obs=obs)
    return Batch(**{**vars(plain), "views": {"again": plain}})


def moved(frame: np.ndarray, down: int, right: int) -> np.ndarray:
    """What the transform says it does, one pixel at a time."""
    height, width = frame.shape[-2:]
    out = np.empty_like(frame)
    for y in range(height):
        for x in range(width):
            out[..., y, x] = frame[..., min(max(y + down, 0), height - 1), min(max(x + right, 0), width - 1)]
    return out


def test_each_row_is_moved_as_a_whole_by_its_own_amount():
    frames = np.random.default_rng(0).integers(0, 256, (40, 2, 3, 9, 7), dtype=np.uint8)
    batch = batch_of(frames)
    shifted = RandomShift(pixels=2)(batch, np.random.default_rng(1))
    ways = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
    taken = set()
    for row in range(len(frames)):
        fits = [
            way for way in ways if np.array_equal(shifted.obs.images["front"][row], moved(frames[row], *way))
        ]
        assert len(fits) == 1
        taken.add(fits[0])
        for obs in (shifted.obs, shifted.next_obs, shifted.views["again"].obs):
            for name in ("front", "wrist"):
                assert np.array_equal(obs.images[name][row], moved(batch.obs.images[name][row], *fits[0])), (
                    "cameras, views and successors of a row move alike"
                )
    assert len(taken) > 15
    assert shifted.obs.images["front"].dtype == np.uint8


def test_the_generator_decides_and_no_pixels_change_nothing():
    frames = np.random.default_rng(0).integers(0, 256, (8, 1, 3, 6, 6), dtype=np.uint8)
    once, again, other = (
        RandomShift(pixels=3)(batch_of(frames), np.random.default_rng(seed)).obs.images["front"]
        for seed in (4, 4, 5)
    )
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)
    still = RandomShift(pixels=0)(batch_of(frames), np.random.default_rng(0))
    assert np.array_equal(still.obs.images["front"], frames)


def test_a_negative_shift_is_refused():
    with pytest.raises(ConfigError, match="image_shift is -1"):
        RandomShift(pixels=-1)
