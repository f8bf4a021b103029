# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
"""robosuite itself: imported without a word, its random numbers confined, its settings in plain sight.

The package logs five lines when it is imported and one for each arm, sets `MUJOCO_GL`, and draws from numpy's
global random numbers. The first are held back, the second is undone, for the third see `drawing`. The visual
meshes of Sawyer and Baxter are too flat for MuJoCo 3.8 to find their volume; what their bodies weigh is said
apart from them, so they are taken as shells.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from robopolicy.core.errors import UnknownNameError
from sim import gl
from sim.robosuite.spec import ARMS, CONTROL_HZ, CONTROLLERS

logging.getLogger("robosuite_logs").addFilter(lambda record: record.levelno >= logging.ERROR)

with gl.undrawn():
    import robosuite
    from robosuite.controllers.composite import composite_controller_factory
    from robosuite.models.robots import manipulators


class _Shells:
    """An arm's model whose meshes have no volume."""

    def __init__(self, idn: int = 0) -> None:
        super().__init__(idn=idn)  # pyright: ignore[reportCallIssue]  (of the model it is mixed into)
        for mesh in self.asset.iter("mesh"):
            mesh.set("inertia", "shell")


class Sawyer(_Shells, manipulators.Sawyer):
    """robosuite registers its arms by the names of their classes: this takes the place of its own."""


class Baxter(_Shells, manipulators.Baxter):
    """As `Sawyer`."""


def controller_settings(controller: str, robot: str) -> dict[str, Any]:
    """robosuite's settings of a controller for a robot's arms: gains, the most it does in a step, frame.

    Raises:
        UnknownNameError: there is no such controller.
    """
    if controller not in CONTROLLERS:
        raise UnknownNameError("controller", controller, list(CONTROLLERS))
    if controller == "OSC_POSE":  # what each robot comes with
        settings = robosuite.load_composite_controller_config(robot=robot)
        assert settings is not None  # as where the robot's name is known, see above
        return settings
    part = robosuite.load_part_controller_config(default_controller=controller)
    sides = ["right", "left"][: ARMS[robot]]
    return composite_controller_factory.refactor_composite_controller_config(part, robot, sides)


def make(task: str, robots: Sequence[str], settings: Sequence[Mapping[str, Any]], *, dense: bool) -> Any:
    """robosuite's environment, without a screen or an end, and with a model that lasts."""
    with drawing(np.random.default_rng(0)):  # the size of Lift's cube
        return robosuite.make(
            task,
            robots=list(robots),
            controller_configs=copy.deepcopy(list(settings)),  # it adds to them
            control_freq=CONTROL_HZ,
            reward_shaping=dense,
            has_renderer=False,
            has_offscreen_renderer=False,
            use_camera_obs=False,
            renderer="mujoco",
            hard_reset=False,
            ignore_done=True,
        )


@contextmanager
def drawing(rng: np.random.Generator) -> Iterator[None]:
    """While robosuite draws: numpy's global random numbers are seeded from `rng`, and then put back."""
    before = np.random.get_state()
    np.random.seed(int(rng.integers(1 << 32)))
    try:
        yield
    finally:
        np.random.set_state(before)
