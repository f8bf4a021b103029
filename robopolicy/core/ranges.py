"""One check of a number for every constructor and setting: the message names it, its value and its range.

Who builds a network in Python meets the same check as who writes a config.
"""

from __future__ import annotations

import math
from numbers import Real

from robopolicy.core.errors import ConfigError


def in_range(
    owner: str = "",
    /,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    **values: float | None,
) -> None:
    """Refuse what is no number, is not finite or lies outside a range.

    `in_range("FlowPolicy", least=1, steps=0)` says "FlowPolicy: steps is 0; it must be at least 1".

    Args:
        owner: whose arguments they are, a class's name or a group of settings; said first.
        least, most: bounds that are allowed themselves.
        above, below: bounds that are not.
        values: by name, all to be held to the same range; None, where an argument may be left out, is let be.

    What is not said is no bound, except that a number is always finite.

    Raises:
        ConfigError: names the first value that is wrong, and what it must be.
    """
    bounds = {"at least": least, "above": above, "at most": most, "below": below}
    wanted = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
    for name, value in values.items():
        if value is None:
            continue
        if not isinstance(value, Real) or not (
            math.isfinite(value)
            and (least is None or value >= least)
            and (above is None or value > above)
            and (most is None or value <= most)
            and (below is None or value < below)
        ):
            said = f"{owner}: {name}" if owner else name
            raise ConfigError(f"{said} is {value!r}; it must be {wanted or 'a finite number'}")
