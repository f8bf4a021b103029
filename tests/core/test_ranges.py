"""Numbers are held to their range, at whichever end."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from robopolicy.core.errors import ConfigError
from robopolicy.core.ranges import in_range


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        ({"least": 1}, [1, 1.5, np.int64(3), np.float32(2)], [0, 0.999, -1]),
        ({"above": 0}, [1e-9, 5], [0, -1]),
        ({"least": 0, "below": 1}, [0, 0.5], [1, -0.1]),
        ({"above": 0, "most": 2}, [2, 0.1], [0, 2.1]),
        ({}, [-5, 0], []),
    ],
)
def test_a_number_in_its_range(bounds: dict[str, float], inside: list[Any], outside: list[Any]) -> None:
    for value in (*inside, None):
        in_range("Thing", **bounds, ok=value, size=value)
    for value in (*outside, math.nan, math.inf, -math.inf, "3", [1]):
        with pytest.raises(ConfigError) as error:
            in_range("Thing", **bounds, size=value)
        assert f"Thing: size is {value!r}; it must be " in str(error.value)


def test_the_range_is_said() -> None:
    with pytest.raises(ConfigError, match=r"^share is 2; it must be at least 0 and below 1$"):
        in_range(least=0, below=1, share=2)
