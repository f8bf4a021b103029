"""Chooses how MuJoCo draws, before MuJoCo is imported, and says what is missing where it cannot.

A machine without a screen draws through EGL or OSMesa. `MUJOCO_GL` is respected where it is set; else the
first of the two whose library loads is taken, else `disabled`: everything but pictures works. Loading a
library makes no context: as long as nobody asks for an image, no driver is touched.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from robopolicy.core.errors import UserError
from robopolicy.core.machine import GL

_LIBRARIES = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}


class RenderingError(UserError):
    """Pictures were asked for where none can be drawn: not on this machine, or not of this environment."""


def loads(backend: str) -> bool:
    """Whether the library of `egl` or `osmesa` is there."""
    try:
        ctypes.CDLL(_LIBRARIES[backend])
    except OSError:
        return False
    return True


def choose() -> str:
    """Set `MUJOCO_GL` where it is unset, and return it; off Linux MuJoCo's own choice stands."""
    if not os.environ.get("MUJOCO_GL") and sys.platform.startswith("linux"):
        os.environ["MUJOCO_GL"] = next((name for name in _LIBRARIES if loads(name)), "disabled")
        late = sys.modules.get("mujoco.rendering.classic.gl_context")
        if late is not None and os.environ["MUJOCO_GL"] in _LIBRARIES:
            importlib.reload(late)  # MuJoCo was imported first and looked for a screen; it now looks again
    return os.environ.get("MUJOCO_GL", "")


@contextmanager
def undrawn() -> Iterator[None]:
    """While a package is imported that would open a display of its own: it is told that nothing is drawn.

    MuJoCo must have been imported before. What all suites draw with is `sim.render`.
    """
    chosen = choose()
    os.environ["MUJOCO_GL"] = "disabled"
    try:
        yield
    finally:
        if chosen:
            os.environ["MUJOCO_GL"] = chosen
        else:
            del os.environ["MUJOCO_GL"]


def explain(reason: str) -> RenderingError:
    """The error to raise where a renderer cannot be made, with the command that mends it."""
    backend = os.environ.get("MUJOCO_GL", "")
    return RenderingError(
        f"cannot draw with MUJOCO_GL='{backend}' ({reason}); run `{GL['egl']}` and unset MUJOCO_GL, "
        f"or ask for observe='state', which draws nothing"
    )
