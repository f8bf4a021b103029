# pyright: reportAttributeAccessIssue=false
"""Pictures of a MuJoCo simulation, for every suite: fast small frames for policies, fine ones for people.

The plain look leaves out shadows, reflections, the sky, haze and multisampling, which is most of the cost in
software GL. The full look is the model's own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import mujoco
import numpy as np

from robopolicy.core.errors import UnknownNameError
from robopolicy.core.spec import Image
from sim import gl

LOOKS = ("plain", "full")

_PLAIN = (
    mujoco.mjtRndFlag.mjRND_SHADOW,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
    mujoco.mjtRndFlag.mjRND_SKYBOX,
    mujoco.mjtRndFlag.mjRND_HAZE,
)
_MAX_GEOMS = 1000  # drawn at once: sites and tendons count, too


def check_cameras(model: mujoco.MjModel, cameras: Sequence[str]) -> None:
    """Refuse cameras that a model does not have.

    Raises:
        UnknownNameError: names the first of them, and those there are.
    """
    known = [model.camera(index).name for index in range(model.ncam)]
    for camera in cameras:
        if camera not in known:
            raise UnknownNameError("camera", camera, known)


class Frames:
    """Renderers of one simulation, made when first asked for.

    Args:
        model, data: of the simulation; its kinematics must be up to date (`mj_kinematics`).
        look: of the frames, `plain` or `full`.
        upside_down: cameras that hang so; what they see is turned by half a turn.
        hidden: groups of geoms that are not drawn.

    Raises:
        UnknownNameError: there is no such look.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        *,
        look: str = "plain",
        upside_down: Collection[str] = (),
        hidden: Collection[int] = (),
    ) -> None:
        if look not in LOOKS:
            raise UnknownNameError("look", look, list(LOOKS))
        self._model, self._data, self._look, self._upside_down = model, data, look, upside_down
        self._seen = mujoco.MjvOption()
        self._seen.geomgroup[list(hidden)] = 0
        self._renderers: dict[tuple[int, int, str], mujoco.Renderer] = {}

    def shown(self, images: Mapping[str, Image]) -> dict[str, np.ndarray]:
        """The frames `[size size 3]` of the square images that a spec tells of, by camera."""
        return {camera: self.frame(camera, image.height) for camera, image in images.items()}

    def frame(self, camera: str, size: int) -> np.ndarray:
        """A camera's frame `[size size 3]` uint8, a new array each time."""
        return self._draw(self._renderer(size, size, self._look), camera)

    def picture(self, camera: str | mujoco.MjvCamera, width: int = 640, height: int = 480) -> np.ndarray:
        """A fine picture `[height width 3]` uint8, with shadows, drawn at twice the size."""
        renderer = self._renderer(2 * width, 2 * height, "full")
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        large = self._draw(renderer, camera).reshape(height, 2, width, 2, 3)
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
        renderer.update_scene(self._data, camera=camera, scene_option=self._seen)
        drawn = renderer.render()
        hangs = isinstance(camera, str) and camera in self._upside_down
        return drawn[::-1, ::-1].copy() if hangs else drawn

    def _renderer(self, width: int, height: int, look: str) -> mujoco.Renderer:
        if (width, height, look) not in self._renderers:
            visual = self._model.vis
            samples = visual.quality.offsamples
            visual.global_.offwidth = max(visual.global_.offwidth, width)
            visual.global_.offheight = max(visual.global_.offheight, height)
            if look == "plain":
                visual.quality.offsamples = 0  # read when a context is made
            try:
                made = mujoco.Renderer(self._model, height, width, max_geom=_MAX_GEOMS)
            except (ImportError, AttributeError, RuntimeError, TypeError, mujoco.FatalError) as error:
                raise gl.explain(f"{type(error).__name__}: {error}") from error
            finally:
                visual.quality.offsamples = samples
            for flag in _PLAIN if look == "plain" else ():
                made.scene.flags[flag] = 0
            self._renderers[width, height, look] = made
        return self._renderers[width, height, look]
