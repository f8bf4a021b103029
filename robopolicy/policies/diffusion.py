"""Diffusion Policy over action chunks (Chi et al. 2023, arXiv:2303.04137).

With data a (a chunk, normalised), noise z and time t, all independent, the network f regresses what the best
linear guess of the data leaves over (`ops.diffusion.Residual`),

    L = E || f(x, t, o) - (a - skip(t) x) / out(t) ||^2 ,    x = cos(angle_t) a + sin(angle_t) z ,

and a sample is noise carried back to data by DDIM, DDPM or DPM-Solver++ (`ops.diffusion`) with averaged
weights. Each estimate of the data on the way is clipped to the range of normalised actions, as in the paper.

Differs from the paper: there the network regresses the noise (`ops.diffusion.Epsilon`); the residual is
learned in far fewer steps. Times are continuous between the 100 levels of the schedule, steps beyond an
episode's end are left out of the mean, and 10 DDIM steps are the default, since a control loop can afford
them.
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
from robopolicy.nn.unet1d import UNet1d
from robopolicy.ops import diffusion
from robopolicy.ops.chunks import check_prefix, clip, masked_mean, with_prefix
from robopolicy.ops.flow import Points, Times, Velocity, along
from robopolicy.ops.inputs import GlobalNoise, noise_of, state_of
from robopolicy.ops.targets import ema_rate, polyak, target_of


class DiffusionPolicy(Learner):
    """A `Policy`, `NoiseDecoder` and `Denoiser`. Group: `policy`.

    Args:
        spec: what is seen and commanded.
        obs_steps: history length T.
        horizon: chunk length H.
        network: builds the network from `action_size`, `horizon` and `context_size`; `nn.unet1d.UNet1d` or
            `nn.dit.DiT`, with whatever arguments bound.
        prediction: what the network regresses: `ops.diffusion.Residual` (the default), `Sample` or `Epsilon`.
        draws: N, noises and times for each chunk of an update, on one encoding of its observation: a steadier
            gradient, cheap where the encoding is dear (as Li et al. 2024, arXiv:2406.11838, do for tokens).
        sampler: `ops.diffusion.ddim`, `ddpm` or `dpm_solver`. Decoding a given noise is deterministic: where
            the sampler is not, it decodes by DDIM.
        steps: of the sampler; must divide `levels`.
        levels: of the noise schedule.
        limit: estimates of the data are clipped to this, in normalised units; None for actions that are not
            normalised to [-1, 1].
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
        network: Callable[..., nn.Module] = UNet1d,
        prediction: diffusion.Prediction | None = None,
        draws: int = 1,
        sampler: diffusion.Sampler = diffusion.ddim,
        steps: int = 10,
        levels: int = 100,
        limit: float | None = 1.0,
        ema: float = 0.999,
        vision: str = "cnn",
        vision_frozen: bool = False,
        text: str = "words",
        text_dim: int = 64,
        image_dim: int = 64,
    ) -> None:
        in_range("DiffusionPolicy", least=1, obs_steps=obs_steps, horizon=horizon, draws=draws, levels=levels)
        in_range("DiffusionPolicy", above=0, limit=limit)
        in_range("DiffusionPolicy", least=0, below=1, ema=ema)
        chunk = Window.imitation(obs_steps=obs_steps, horizon=horizon)
        super().__init__(spec=spec, windows={"policy": chunk})
        self.obs_steps, self.horizon = obs_steps, horizon
        self.draws, self.limit, self.ema = draws, limit, ema
        self.noise_shape = (horizon, len(spec.action))
        self.prediction = diffusion.Residual() if prediction is None else prediction
        self.schedule = diffusion.Schedule(levels=levels)
        self.updates = sampler(levels, steps)
        stochastic = any(update.fresh for update in self.updates)
        self.decoding = diffusion.ddim(levels, steps) if stochastic else self.updates
        encoder = ContextEncoder(
            spec=spec,
            obs_steps=obs_steps,
            vision=vision,
            vision_frozen=vision_frozen,
            text=text,
            text_dim=text_dim,
            image_dim=image_dim,
        )
        denoiser = network(action_size=len(spec.action), horizon=horizon, context_size=encoder.width)
        self.trained = nn.ModuleDict({"encoder": encoder, "denoiser": denoiser})
        self.averaged = target_of(self.trained)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group, `policy`."""
        return {"policy": trainable(self.trained)}

    def losses(self, batch: Batch, step: int) -> Iterator[Loss]:
        """The regression of the residual, or of what `prediction` says."""
        ctx = self._encode(batch.obs, self.trained)
        data = self.normalizer.action(batch.action)[:, None].expand(-1, self.draws, -1, -1)  # [B N H A]
        draw = noise_of(batch)
        noise, t = draw.normal(*data.shape), draw.uniform(*data.shape[:2])
        output = self.trained["denoiser"](self.schedule.interpolate(noise, data, t), t, ctx)
        angle, _ = self.schedule.at(along(t, data))
        error = (output - self.prediction.target(noise, data, angle)).square().mean(1)
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

        `prefix` is kept as it is; the rest is generated beside it (`Schedule.hold_prefix`).
        """
        check_prefix(prefix, horizon=self.horizon, action_size=len(self.spec.action))
        ctx = self.encode(obs)
        draw = noise or GlobalNoise(device=self.device)
        start = draw.normal(len(ctx), n, *self.noise_shape)
        hold = None if prefix is None else self.schedule.hold_prefix(start, self.normalizer.action(prefix))
        chunk = diffusion.integrate(
            self._field(ctx), start, self.updates, self.schedule, draw=draw, project=hold
        )
        return with_prefix(self._physical(chunk), prefix)

    def encode(self, obs: Observation) -> Float[Tensor, "B D"]:
        """The context, from the averaged weights."""
        return self._encode(obs, self.averaged)

    def decode(self, ctx: Float[Tensor, "B D"], noise: Points) -> Points:
        """`noise [B N H A]` to chunks within the spec's bounds; deterministic, differentiable."""
        return self._physical(diffusion.integrate(self._field(ctx), noise, self.decoding, self.schedule))

    def velocity(self, ctx: Float[Tensor, "B D"], x: Points, t: Times) -> Points:
        """dx/dt of the probability flow at `x [B N H A]` (normalised), `t [B N]`."""
        return self.schedule.velocity(x, self._clean(ctx, x, t), t)

    def clean(self, ctx: Float[Tensor, "B D"], x: Points, t: Times) -> Points:
        """The one-step estimate of the chunk, `[B N H A]`, physical; no gradient where `limit` clips it."""
        return self.normalizer.unaction(self._clean(ctx, x, t))

    def _clean(self, ctx: Float[Tensor, "B D"], x: Points, t: Times) -> Points:
        angle, _ = self.schedule.at(along(t, x))
        clean = self.prediction.clean(self.averaged["denoiser"](x, t, ctx), x, angle)
        return clean if self.limit is None else clean.clamp(-self.limit, self.limit)

    def _field(self, ctx: Float[Tensor, "B D"]) -> Velocity:
        return lambda x, t: self.velocity(ctx, x, t)

    def _physical(self, chunk: Points) -> Points:
        return clip(self.normalizer.unaction(chunk), self.spec)

    def _encode(self, obs: Observation, modules: nn.ModuleDict) -> Float[Tensor, "B D"]:
        state = state_of(obs, spec=self.spec, obs_steps=self.obs_steps)
        return modules["encoder"](obs, self.normalizer.state(state))
