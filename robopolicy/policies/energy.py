"""Energy-based policy: chunks by a few steps of gradient descent (EBT-Policy, Davies et al. 2025,
arXiv:2510.27545).

A transformer gives a chunk x (normalised) its energy E(x, o), and a sample is noise that descends. It learns
through the descent: from anywhere between noise z and a demonstrated chunk a, one step leads to the chunk,

    L = E || x - dE/dx(x, o) - a ||^2 ,    x = (1 - t) z + t a ,

whose gradient is of second order. Acting takes K steps, the k-th (from 0) of length 1 / (K - k): each goes
its share of the way that is left, and the last one all of it.

Differs from the paper: there, descents begin at noise in training too. Noise does not tell which of several
demonstrated answers is meant, and the squared error then makes of them their mean; a point on the way to one
of them does tell (as in Wang & Du 2025, arXiv:2510.02300, whose slope shrinks along the way). The energy is a
squared distance (`nn.energy`), which gives steps a natural length: it is neither learned nor randomised nor
scaled with the energy. No noise is added on the way down, the number of steps is fixed, and averaged weights
sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robopolicy.core.learner import Learner, Loss, trainable
from robopolicy.core.ranges import in_range
from robopolicy.core.spec import Spec
from robopolicy.core.types import Batch, Noise, Observation, Window
from robopolicy.nn.context import ContextEncoder
from robopolicy.nn.dit import DiT
from robopolicy.nn.energy import ChunkEnergy, slope
from robopolicy.ops import flow
from robopolicy.ops.chunks import check_prefix, clip, masked_mean, with_prefix
from robopolicy.ops.inputs import GlobalNoise, noise_of, state_of
from robopolicy.ops.targets import ema_rate, polyak, target_of


class EnergyPolicy(Learner):
    """A `Policy` and `NoiseDecoder`, which also gives the energy of a chunk. Group: `policy`.

    Args:
        spec: what is seen and commanded.
        obs_steps: history length T.
        horizon: chunk length H.
        network: builds the network in the energy from `action_size`, `horizon` and `context_size`;
            `nn.dit.DiT`, `nn.mlp.ChunkResNet` or `ChunkMLP`, with whatever arguments bound.
        draws: N, starts for each chunk of an update, on one encoding of its observation.
        steps: K, of the descent when sampling.
        ema: decay of the averaged weights that sample.
        vision, vision_frozen, text, text_dim, image_dim: see `nn.context.ContextEncoder`.

    Attributes:
        noise_shape: of one candidate's noise, (H, A).
    """

    def __init__(
        self,
        *,
        spec: Spec,
        obs_steps: int = 1,
        horizon: int = 16,
        network: Callable[..., nn.Module] = DiT,
        draws: int = 1,
        steps: int = 4,
        ema: float = 0.999,
        vision: str = "cnn",
        vision_frozen: bool = False,
        text: str = "words",
        text_dim: int = 64,
        image_dim: int = 64,
    ) -> None:
        in_range("EnergyPolicy", least=1, obs_steps=obs_steps, horizon=horizon, draws=draws, steps=steps)
        in_range("EnergyPolicy", least=0, below=1, ema=ema)
        chunk = Window.imitation(obs_steps=obs_steps, horizon=horizon)
        super().__init__(spec=spec, windows={"policy": chunk})
        self.obs_steps, self.horizon = obs_steps, horizon
        self.draws, self.steps, self.ema = draws, steps, ema
        self.noise_shape = (horizon, len(spec.action))
        encoder = ContextEncoder(
            spec=spec,
            obs_steps=obs_steps,
            vision=vision,
            vision_frozen=vision_frozen,
            text=text,
            text_dim=text_dim,
            image_dim=image_dim,
        )
        built = network(action_size=len(spec.action), horizon=horizon, context_size=encoder.width)
        self.trained = nn.ModuleDict({"encoder": encoder, "energy": ChunkEnergy(built)})
        self.averaged = target_of(self.trained)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group, `policy`."""
        return {"policy": trainable(self.trained)}

    def losses(self, batch: Batch, step: int) -> Iterator[Loss]:
        """How far from the demonstrated chunk one step of descent ends, in normalised units."""
        ctx = self._encode(batch.obs, self.trained)
        data = self.normalizer.action(batch.action)[:, None].expand(-1, self.draws, -1, -1)  # [B N H A]
        draw = noise_of(batch)
        noise, t = draw.normal(*data.shape), draw.uniform(*data.shape[:2])
        x = flow.interpolate(noise, data, t)
        error = (x - slope(self.trained["energy"], x, ctx) - data).square().mean(1)
        yield Loss("policy", masked_mean(error, batch.is_pad))

    def after(self, group: str, step: int) -> None:
        """Move the averaged weights."""
        polyak(self.averaged, self.trained, ema_rate(step, self.ema))

    @torch.no_grad()
    def sample(
        self,
        obs: Observation,
        n: int = 1,
        *,
        prefix: Float[Tensor, "B P A"] | None = None,
        noise: Noise | None = None,
    ) -> Float[Tensor, "B {n} H A"]:
        """`n` chunks per row, within the spec's bounds.

        `prefix` is kept as it is; the rest descends beside it (`ops.flow.hold_prefix`).
        """
        check_prefix(prefix, horizon=self.horizon, action_size=len(self.spec.action))
        ctx = self.encode(obs)
        draw = noise or GlobalNoise(device=self.device)
        start = draw.normal(len(ctx), n, *self.noise_shape)
        if prefix is None:
            return self.decode(ctx, start)
        hold = flow.hold_prefix(start, self.normalizer.action(prefix))
        return with_prefix(self._decode(ctx, start, hold), prefix)

    def encode(self, obs: Observation) -> Float[Tensor, "B D"]:
        """The context, from the averaged weights."""
        return self._encode(obs, self.averaged)

    def decode(self, ctx: Float[Tensor, "B D"], noise: flow.Points) -> flow.Points:
        """`noise [B N H A]` to chunks within the spec's bounds; deterministic, differentiable."""
        return self._decode(ctx, noise, None)

    def energy(self, ctx: Float[Tensor, "B D"], chunk: flow.Points) -> Float[Tensor, "B N"]:
        """The energy of `chunk [B N H A]`, physical: 0 or more, low where it is as was demonstrated.

        Differentiable. A sum over the chunk, in normalised units. It ranks chunks, and is no log-density.
        """
        return self.averaged["energy"](self.normalizer.action(chunk), ctx)

    def _encode(self, obs: Observation, modules: nn.ModuleDict) -> Float[Tensor, "B D"]:
        state = state_of(obs, spec=self.spec, obs_steps=self.obs_steps)
        return modules["encoder"](obs, self.normalizer.state(state))

    def _decode(
        self, ctx: Float[Tensor, "B D"], noise: flow.Points, hold: flow.Project | None
    ) -> flow.Points:
        # Steps of length 1 / (K - k) are Euler's, along straight paths that end where the slope points
        chunk = flow.integrate(self._towards_the_bottom(ctx), noise, self.steps, project=hold)
        return clip(self.normalizer.unaction(chunk), self.spec)

    def _towards_the_bottom(self, ctx: Float[Tensor, "B D"]) -> flow.Velocity:
        return lambda x, t: -slope(self.averaged["energy"], x, ctx) / (1 - flow.along(t, x))
