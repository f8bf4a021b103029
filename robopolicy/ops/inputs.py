"""What a learner takes from outside, checked: the observed state and the random numbers."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from robopolicy.core.errors import SpecMismatchError
from robopolicy.core.spec import Spec
from robopolicy.core.types import Batch, Noise, Observation


def state_of(obs: Observation, *, spec: Spec, obs_steps: int) -> Float[Tensor, "B T S"]:
    """The state history, in physical units.

    Raises:
        SpecMismatchError: where it has another shape than the learner was built for.
    """
    wanted = (obs_steps, len(spec.state))
    if tuple(obs.state.shape[1:]) != wanted:
        raise SpecMismatchError(
            f"observation.state has shape {list(obs.state.shape)}; this learner wants [B, {wanted[0]}, "
            f"{wanted[1]}]: {obs_steps} steps of {list(spec.state.names)}"
        )
    return obs.state


class GlobalNoise:
    """The global generator behind the `Noise` protocol, for a draw that need not be repeated.

    Args:
        device: where the numbers are made.
    """

    def __init__(self, *, device: torch.device) -> None:
        self._device = device

    def normal(self, *shape: int) -> Float[Tensor, "*shape"]:
        """Standard normal of `shape`."""
        return torch.randn(shape, device=self._device)

    def uniform(self, *shape: int) -> Float[Tensor, "*shape"]:
        """Uniform on [0, 1) of `shape`."""
        return torch.rand(shape, device=self._device)


def noise_of(batch: Batch) -> Noise:
    """The noise that the trainer made for these rows.

    Raises:
        ValueError: where the batch carries none.
    """
    if batch.noise is None:
        raise ValueError("this loss draws noise, but the batch has none; set batch.noise to a StepNoise")
    return batch.noise
