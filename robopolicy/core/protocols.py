"""The capabilities that parts offer each other. A steerer states which it needs and refuses early without
them.

Shapes use the letters of `core.types`. Tensors are physical: nobody outside a learner sees a normalised
value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from robopolicy.core.spec import Spec
from robopolicy.core.types import Array, Noise, Observation, Step


@runtime_checkable
class Policy(Protocol):
    """Proposes action chunks."""

    spec: Spec

    def sample(
        self, obs: Observation, n: int = 1, *, prefix: Array | None = None, noise: Noise | None = None
    ) -> Array:
        """Draw `n` chunks per row in one batched pass with one encoding: `[B N H A]`.

        `prefix [B P A]` holds actions already committed, for policies that can continue them. `noise` makes
        the draw repeatable, row by row; without it the global generator is used.
        """
        ...


@runtime_checkable
class ChunkPolicy(Policy, Protocol):
    """A policy that says how many observations it looks back on and how many actions it proposes."""

    obs_steps: int
    horizon: int


@runtime_checkable
class Encoder(Protocol):
    """Turns an observation into what the rest of the network needs, once for all candidates."""

    def encode(self, obs: Observation) -> Any:
        """The context of `obs`, with first axis B on every tensor in it."""
        ...


@runtime_checkable
class NoiseDecoder(Encoder, Protocol):
    """A deterministic map from noise to chunks: what noise-space steering needs."""

    noise_shape: tuple[int, ...]

    def decode(self, ctx: Any, noise: Array) -> Array:
        """`noise [B N *noise_shape]` to chunks `[B N H A]`."""
        ...


@runtime_checkable
class Denoiser(Encoder, Protocol):
    """A generator by integration; time 1 is data and 0 is noise (see `ops.flow`)."""

    def velocity(self, ctx: Any, x: Array, t: Array) -> Array:
        """dx/dt at `x [B N H A]` (the learner's own coordinates), time `t [B N]`."""
        ...

    def clean(self, ctx: Any, x: Array, t: Array) -> Array:
        """The one-step estimate of the finished chunk, differentiable, in physical units: `[B N H A]`."""
        ...


@runtime_checkable
class Likelihood(Protocol):
    """Says how likely a chunk is."""

    def log_prob(self, obs: Observation, chunk: Array) -> Array:
        """`chunk [B N H A]` to log-density `[B N]`."""
        ...


@runtime_checkable
class Critic(Protocol):
    """Values chunks of whatever policy."""

    def scores(self, obs: Observation, chunk: Array) -> Array:
        """`chunk [B N H A]` to one score per ensemble member, `[E B N]`; the caller reduces."""
        ...


@runtime_checkable
class Value(Protocol):
    """Values observations."""

    def value(self, obs: Observation) -> Array:
        """`[B]`."""
        ...


class Agent(Protocol):
    """Acts in B environments at once; a robot is the case B = 1."""

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """Forget everything about these rows: new episodes begin there, with these seeds."""
        ...

    def act(self, steps: Sequence[Step]) -> np.ndarray:
        """The action of each row, `[B A]` float32, from each row's newest step; must return within a tick."""
        ...


class Env(Protocol):
    """One simulator or robot with a clock."""

    spec: Spec

    def reset(self, seed: int) -> Step:
        """Begin the episode that this seed fixes."""
        ...

    def step(self, action: np.ndarray) -> Step:
        """Command `action [A]` for one control step."""
        ...

    def close(self) -> None:
        """Release what is held; a second call does nothing."""
        ...


@runtime_checkable
class Configured(Protocol):
    """An environment with more to tell of how it is set up than a spec can."""

    settings: Mapping[str, Any]  # plain values, recorded with what is collected: gains, robots


class Observer(Protocol):
    """A guest of the acting loop: recorder, viewer, metrics. It sees every step of every row."""

    def start(self, row: int, step: Step, seed: int) -> None:
        """An episode begins in `row`."""
        ...

    def step(self, row: int, step: Step) -> None:
        """One control step was made; `step.applied` led to `step.obs`."""
        ...

    def end(self, row: int) -> None:
        """The episode of `row` is over."""
        ...
