"""Mistakes that a user can mend. Each message names the thing, the value and the fix.

The command line shows such an error without a traceback and exits with status 2; everything else is a bug in
the code and keeps its traceback.
"""

from __future__ import annotations

import difflib


class UserError(Exception):
    """Base of every mistake a user can mend."""


class SpecMismatchError(UserError, ValueError):
    """Two specs that must agree do not."""


class ConfigError(UserError, ValueError):
    """A configuration names something that does not exist, is not allowed, or has the wrong type."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, of a foreign format or from a stranger who wants to run code."""


class DatasetError(UserError):
    """A dataset is missing, empty, damaged or not what it says it is."""


class UnknownNameError(UserError, LookupError):
    """A name that nothing answers to; the message shows the nearest ones.

    Args:
        kind: what was looked for, for example `task`.
        name: what was asked for.
        known: every name there is.
        hint: appended to the message.
    """

    def __init__(self, kind: str, name: str, known: list[str], hint: str = "") -> None:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        said = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"known: {sorted(known)}"
        super().__init__(f"no {kind} '{name}'; {said}{hint}")
