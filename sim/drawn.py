# pyright: reportAttributeAccessIssue=false
"""What the environments of all suites have in common: what they show of a simulation, and how it is drawn."""

from __future__ import annotations

import gymnasium
import mujoco
import numpy as np

from robopolicy.core.spec import Spec
from sim.env import spaces
from sim.render import Frames


class DrawnEnv(gymnasium.Env):
    """A `gymnasium.Env` that shows a part of its whole state, and frames of cameras.

    Abstract: a subclass says in its constructor what it shows (`_show`), and gives `reset` and `step`, which
    return what `_seen` makes of the whole state.

    Attributes:
        spec_: the robopolicy Spec (gymnasium keeps `spec` for itself).
    """

    render_mode = "rgb_array"

    def _show(self, spec: Spec, *, of: Spec, frames: Frames, overview: str | mujoco.MjvCamera) -> None:
        """Settle what is shown.

        Args:
            spec: of what is shown.
            of: the spec of the whole state.
            frames: of the simulation.
            overview: the camera of pictures for people.
        """
        self.spec_, self._frames, self._overview = spec, frames, overview
        self._shown = of.state.indices(spec.state.names)
        self.observation_space, self.action_space = spaces(spec)
        self.metadata = {"render_modes": [self.render_mode], "render_fps": round(of.control_hz)}

    def _seen(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """The observation in the whole `state [S]`: its shown part in float32, and the frames of now."""
        return {"state": state[self._shown].astype(np.float32), **self._frames.shown(self.spec_.images)}

    def render(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A fine picture `[480 640 3]` uint8 of the scene, with shadows."""
        return self._frames.picture(self._overview)

    def close(self) -> None:
        """Release the renderers."""
        self._frames.close()
