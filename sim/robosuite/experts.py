"""Demonstrators of robosuite's tasks: how each is done, from the poses of hands and things alone."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass

import numpy as np

from sim.robosuite.moves import CLOSED, OPEN, Move, Plan, Scene, Style, down, nearest, yaw_of
from sim.scripted import PRESETS as NOISE
from sim.scripted import Noise

_SQUARE = np.pi / 2  # rad, after which a cube looks the same


@dataclass(frozen=True, kw_only=True)
class Quality(Noise):
    """As `Noise`, and in how many ways.

    Args:
        varied: each episode draws which of the grasps that are alike it takes, how high it carries things and
            on which side; otherwise the nearest way is taken always.
    """

    varied: bool = False

    def style(self, rng: np.random.Generator) -> Style:
        """The way of one episode."""
        return Style.drawn(rng) if self.varied else Style()


PRESETS = {
    name: Quality(**asdict(noise), varied=name == "mixed") for name, noise in NOISE.items()
} | {"varied": Quality(description="steady, in one of several ways each time", varied=True)}


def lift(scene: Scene, style: Style) -> Plan:
    """Grasp the cube and raise it."""
    yield from _pick(scene, "cube", style, 0.1)


def _pick(
    scene: Scene, name: str, style: Style, height: float, low: float = 0.0
) -> Generator[Move, Scene, Scene]:
    """Grasp a thing with square faces from above, `low` above its middle, and lift it by `height`."""
    yaw = nearest(yaw_of(scene.things[f"{name}_quat"]), scene.yaw(), _SQUARE, style)
    return (yield from _grasp(scene.things[f"{name}_pos"] + [0, 0, low], yaw, height))


def _grasp(place: np.ndarray, yaw: float, height: float) -> Generator[Move, Scene, Scene]:
    turns = down([yaw])
    over, up = place + [0, 0, 0.08], place + [0, 0, height]
    yield Move(at=over[None], turns=turns, grip=OPEN, within=0.02)
    yield Move(at=place[None], turns=turns, grip=OPEN, within=0.008, patience=25)
    yield Move(at=place[None], turns=turns, grip=CLOSED, within=0.02, wait=True, patience=120)
    scene = yield Move(at=up[None], turns=turns, grip=CLOSED, within=0.02)
    return scene


PLANS: dict[str, Callable[[Scene, Style], Plan]] = {"Lift": lift}
