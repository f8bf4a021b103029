"""What a learner checks of an observation before it looks at it."""

from __future__ import annotations

import torch

from robopolicy.core.errors import SpecMismatchError
from robopolicy.core.spec import Spec
from robopolicy.core.types import Observation


def state_of(obs: Observation, *, spec: Spec, obs_steps: int) -> torch.Tensor:
    """The state history `[B T S]`, in physical units.

    Raises:
        SpecMismatchError: where it has another shape than the learner was built for.
    """
    wanted = (obs_steps, len(spec.state))
    if tuple(obs.state.shape[1:]) != wanted:
        raise SpecMismatchError(
            f"observation.state has shape {tuple(obs.state.shape)}; this learner wants [B {wanted[0]} "
            f"{wanted[1]}]: {obs_steps} steps of {list(spec.state.names)}"
        )
    return obs.state
