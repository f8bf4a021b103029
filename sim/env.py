"""One adapter from `gymnasium.Env` to the project's `Env` and `Step`, for every suite.

The gymnasium environment offers a dict of observations: `state` and, by camera name, images `[h w C]`; its
info holds `success`, and `instruction` where the spec says that there is text. What it offers and takes as
gymnasium wants to know it follows from its spec, see `spaces`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import gymnasium
import numpy as np

from robopolicy.core.errors import UserError
from robopolicy.core.spec import Image, Spec, Vector
from robopolicy.core.types import Observation, Step
from sim.gl import RenderingError

MUJOCO = "mujoco>=3.8,<3.9"  # what every suite here runs on, as pip is told it


class ActionError(UserError, ValueError):
    """An action has the wrong shape or is not a number."""


def command(spec: Spec, action: np.ndarray) -> np.ndarray:
    """`action [A]` as it can be commanded: float32, clipped to the spec's bounds.

    Raises:
        ActionError: for a wrong shape, and for NaN or infinity, naming the element.
    """
    action = np.asarray(action, dtype=np.float32)
    if action.shape != (len(spec.action),):
        raise ActionError(
            f"action has shape {action.shape}; ({len(spec.action)},) is meant: {list(spec.action.names)}"
        )
    if not np.isfinite(action).all():
        wrong = {spec.action.names[i]: float(action[i]) for i in np.flatnonzero(~np.isfinite(action))}
        raise ActionError(f"action is not finite: {wrong}; check the policy's output and its normaliser")
    return spec.action.clip(action)


def spaces(spec: Spec) -> tuple[gymnasium.spaces.Dict, gymnasium.spaces.Box]:
    """The spaces of the observations and of the actions that a spec tells of."""
    seen: dict[str, gymnasium.Space] = {"state": _box(spec.state)}
    for name, image in spec.images.items():
        seen[name] = gymnasium.spaces.Box(0, 255, (image.height, image.width, image.channels), np.uint8)
    return gymnasium.spaces.Dict(seen), _box(spec.action)


def _box(vector: Vector) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(np.array(vector.low, np.float32), np.array(vector.high, np.float32))


def squares(cameras: Iterable[str], size: int) -> dict[str, Image]:
    """Frames of `size` by `size` pixels for each camera, as a spec tells of them."""
    return {camera: Image(height=size, width=size) for camera in cameras}


class GymEnv:
    """Lets a gymnasium environment be used as `robopolicy.core.protocols.Env`.

    Args:
        env: see the module.
        spec: what it shows and takes; images and text are read as this says.
        settings: see `robopolicy.core.protocols.Configured`.
    """

    def __init__(
        self, env: gymnasium.Env, *, spec: Spec, settings: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.env, self.spec, self.settings = env, spec, settings

    def reset(self, seed: int) -> Step:
        """Begin the episode that this seed fixes."""
        raw, info = self.env.reset(seed=seed)
        return Step(obs=self._observation(raw, info), info=info)

    def step(self, action: np.ndarray) -> Step:
        """Command `action [A]` for one control step; `ActionError` for what cannot be commanded."""
        applied = command(self.spec, action)
        raw, reward, terminated, truncated, info = self.env.step(applied)
        return Step(
            obs=self._observation(raw, info),
            reward=float(reward),
            terminated=terminated,
            truncated=truncated,
            proposed=np.array(action, dtype=np.float32),
            applied=applied,
            info=info,
        )

    def render(self) -> np.ndarray:
        """A picture `[h w 3]` uint8 of now, for people; `RenderingError` where there is none."""
        try:
            picture = self.env.render()
        except NotImplementedError:  # gymnasium's own, where an environment does not say how it is drawn
            picture = None
        if picture is None:
            raise RenderingError(
                f"{type(self.env.unwrapped).__name__} gives no picture; implement its render(), which is to "
                "return [h w 3] uint8"
            )
        return np.asarray(picture)

    def close(self) -> None:
        """Release what is held."""
        self.env.close()

    def _observation(self, raw: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> Observation:
        return Observation(
            state=raw["state"],
            images={name: np.ascontiguousarray(raw[name].transpose(2, 0, 1)) for name in self.spec.images},
            text=(info["instruction"],) if self.spec.text else None,
        )
