"""Rectified-flow policy over action chunks (Liu et al., arXiv:2209.03003; Black et al., arXiv:2410.24164).

With data a (a chunk, normalised), noise z and time t, all independent, the velocity v regresses that of the
straight path from z to a at `x = (1 - t) z + t a`,

    L = E w(t) || v(x, t, o) - (a - z) ||^2 ,    v(x, t, o) = skip(t) x + out(t) F(inner(t) x, t, o) ,

and a sample is the end of `dx/dt = v(x, t, o)` that starts from noise. Steps beyond an episode's end are left
out of the mean.

Differs from the papers: the network F is preconditioned (`ops.flow.precondition`) and the weight is
`w = 1 / out^2`, so that its own target has unit size at every time; steps shorten towards the data (`rho`);
samples can be drawn from averaged weights.
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
from robopolicy.nn.mlp import ChunkResNet
from robopolicy.ops import flow
from robopolicy.ops.chunks import check_prefix, clip, masked_mean, with_prefix
from robopolicy.ops.inputs import GlobalNoise, noise_of, state_of
from robopolicy.ops.targets import ema_rate, polyak, target_of


class FlowPolicy(Learner):
    """A `Policy`, `NoiseDecoder` and `Denoiser`. Group: `policy`.

    Args:
        spec: what is seen and commanded.
        obs_steps: history length T.
        horizon: chunk length H.
        network: builds F from `action_size`, `horizon` and `context_size`; `nn.mlp.ChunkResNet`, `ChunkMLP`
            or `nn.dit.DiT`, with whatever arguments bound.
        data_std: of the normalised actions, roughly; what the preconditioning expects.
        draws: N, noises and times for each chunk of an update, on one encoding of its observation: a steadier
            gradient, cheap where the encoding is dear (as Li et al. 2024, arXiv:2406.11838, do for tokens).
        steps: of the integration when sampling.
        solver: `ops.flow.euler` or `ops.flow.midpoint` (two evaluations a step).
        rho: how much shorter the later steps are, see `ops.flow.integrate`.
        ema: decay of the averaged weights that sample; None samples with the trained weights.
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
        network: Callable[..., nn.Module] = ChunkResNet,
        data_std: float = 0.5,
        draws: int = 1,
        steps: int = 10,
        solver: flow.Solver = flow.euler,
        rho: float = 2.5,
        ema: float | None = None,
        vision: str = "cnn",
        vision_frozen: bool = False,
        text: str = "words",
        text_dim: int = 64,
        image_dim: int = 64,
    ) -> None:
        in_range("FlowPolicy", least=1, obs_steps=obs_steps, horizon=horizon, draws=draws, steps=steps)
        in_range("FlowPolicy", above=0, data_std=data_std, rho=rho)
        in_range("FlowPolicy", least=0, below=1, ema=ema)
        chunk = Window.imitation(obs_steps=obs_steps, horizon=horizon)
        super().__init__(spec=spec, windows={"policy": chunk})
        self.obs_steps, self.horizon = obs_steps, horizon
        self.draws = draws
        self.steps, self.solver, self.rho = steps, solver, rho
        self.ema, self.data_std = ema, data_std
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
        field = network(action_size=len(spec.action), horizon=horizon, context_size=encoder.width)
        self.trained = nn.ModuleDict({"encoder": encoder, "field": field})
        self.averaged = None if ema is None else target_of(self.trained)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group, `policy`."""
        return {"policy": trainable(self.trained)}

    def losses(self, batch: Batch, step: int) -> Iterator[Loss]:
        """The regression of the straight path's velocity, in the network's own units."""
        ctx = self._encode(batch.obs, self.trained)
        data = self.normalizer.action(batch.action)[:, None].expand(-1, self.draws, -1, -1)  # [B N H A]
        draw = noise_of(batch)
        noise, t = draw.normal(*data.shape), draw.uniform(*data.shape[:2])
        x = flow.interpolate(noise, data, t)
        skip, out, inner = (flow.along(c, x) for c in flow.precondition(t, self.data_std))
        target = (flow.target(noise, data) - skip * x) / out
        error = (self.trained["field"](inner * x, t, ctx) - target).square().mean(1)
        yield Loss("policy", masked_mean(error, batch.is_pad))

    def after(self, group: str, step: int) -> None:
        """Move the averaged weights."""
        if self.averaged is not None and self.ema is not None:
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

        `prefix` is kept as it is; the rest is generated to follow it (`ops.flow.hold_prefix`).
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
        """The context, from the acting weights."""
        return self._encode(obs, self._acting)

    def decode(self, ctx: Float[Tensor, "B D"], noise: flow.Points) -> flow.Points:
        """`noise [B N H A]` to chunks within the spec's bounds; differentiable."""
        return self._decode(ctx, noise, None)

    def velocity(self, ctx: Float[Tensor, "B D"], x: flow.Points, t: flow.Times) -> flow.Points:
        """dx/dt at `x [B N H A]` (normalised), `t [B N]`."""
        skip, out, inner = (flow.along(c, x) for c in flow.precondition(t, self.data_std))
        return skip * x + out * self._acting["field"](inner * x, t, ctx)

    def clean(self, ctx: Float[Tensor, "B D"], x: flow.Points, t: flow.Times) -> flow.Points:
        """The one-step estimate of the chunk, `[B N H A]`, physical, unclipped so that gradients pass."""
        return self.normalizer.unaction(flow.clean(x, self.velocity(ctx, x, t), t))

    @property
    def _acting(self) -> nn.ModuleDict:
        return self.trained if self.averaged is None else self.averaged

    def _encode(self, obs: Observation, modules: nn.ModuleDict) -> Float[Tensor, "B D"]:
        state = state_of(obs, spec=self.spec, obs_steps=self.obs_steps)
        return modules["encoder"](obs, self.normalizer.state(state))

    def _decode(
        self, ctx: Float[Tensor, "B D"], noise: flow.Points, hold: flow.Project | None
    ) -> flow.Points:
        chunk = flow.integrate(
            lambda x, t: self.velocity(ctx, x, t),
            noise,
            self.steps,
            solver=self.solver,
            rho=self.rho,
            project=hold,
        )
        return clip(self.normalizer.unaction(chunk), self.spec)
