# pyright: reportAttributeAccessIssue=false
"""Pictures of a tabletop: fast small frames for policies, and fine ones for people.

Frames leave out shadows, reflections, the sky and multisampling, which is most of the cost in software GL.
"""

from __future__ import annotations

import mujoco
import numpy as np

from sim import gl

_PLAIN = (
    mujoco.mjtRndFlag.mjRND_SHADOW,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
    mujoco.mjtRndFlag.mjRND_SKYBOX,
    mujoco.mjtRndFlag.mjRND_HAZE,
)


class Frames:
    """Renderers of one simulation, made when first asked for.

    Args:
        model, data: of the simulation; its kinematics must be up to date (`mj_kinematics`).
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._model, self._data = model, data
        self._renderers: dict[tuple[int, int], mujoco.Renderer] = {}

    def frame(self, camera: str, size: int) -> np.ndarray:
        """A camera's frame `[size size 3]` uint8, a new array each time."""
        renderer = self._renderer(size, size)
        for flag in _PLAIN:
            renderer.scene.flags[flag] = 0
        return self._draw(renderer, camera)

    def picture(self, width: int = 640, height: int = 480) -> np.ndarray:
        """A fine picture `[height width 3]` uint8 from the side, with shadows, drawn at twice the size."""
        view = mujoco.MjvCamera()
        view.lookat[:] = [0.15, 0.0, 0.07]
        view.distance, view.azimuth, view.elevation = 0.7, 140, -30
        renderer = self._renderer(2 * width, 2 * height)
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        large = self._draw(renderer, view).reshape(height, 2, width, 2, 3)
        return large.mean(axis=(1, 3)).astype(np.uint8)

    def close(self) -> None:
        """Release the GL contexts; a second call does nothing."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def _draw(self, renderer: mujoco.Renderer, camera: str | mujoco.MjvCamera) -> np.ndarray:
        # Not mj_forward: it would change the solver's warm start, and pictures must not change the physics.
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        renderer.update_scene(self._data, camera=camera)
        return renderer.render()

    def _renderer(self, width: int, height: int) -> mujoco.Renderer:
        if (width, height) not in self._renderers:
            try:
                self._renderers[width, height] = mujoco.Renderer(self._model, height, width, max_geom=200)
            except (ImportError, AttributeError, RuntimeError, TypeError, mujoco.FatalError) as error:
                raise gl.explain(f"{type(error).__name__}: {error}") from error
        return self._renderers[width, height]
