"""Gaussian policy over action chunks, truncated to the spec's bounds: the plainest likelihood there is.

Each element a of the chunk (step h, action element i; normalised) is drawn, independently given the
observation, from a normal N(m, s) conditioned on its bounds l < a < u:

    log p(a | o) = log N(a; m, s) - log(Phi((u - m) / s) - Phi((l - m) / s)) .

What is sampled is thereby exactly what `log_prob` describes: a Gaussian that is clipped afterwards puts point
masses on the bounds, which have no density, and a tanh sends demonstrations that touch a bound to infinity.
Where a bound is infinite the formula is the ordinary Gaussian's. The mean stays inside the bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robopolicy.core.errors import ConfigError
from robopolicy.core.learner import Learner, Loss, trainable
from robopolicy.core.ranges import in_range
from robopolicy.core.spec import Spec
from robopolicy.core.types import Batch, Noise, Observation, Window
from robopolicy.nn.context import ContextEncoder
from robopolicy.nn.mlp import mlp
from robopolicy.ops.chunks import bounds_of, check_prefix, clip, masked_mean, with_prefix
from robopolicy.ops.inputs import GlobalNoise, state_of
from robopolicy.ops.truncated import TruncatedNormal


class GaussianPolicy(Learner):
    """A `Policy` with a `Likelihood`. Group: `policy`.

    Args:
        spec: what is seen and commanded.
        obs_steps: history length T.
        horizon: chunk length H.
        hidden: widths of the network.
        std_range: smallest and largest standard deviation, in normalised units.
        vision, vision_frozen, text, text_dim, image_dim: see `nn.context.ContextEncoder`.
    """

    def __init__(
        self,
        *,
        spec: Spec,
        obs_steps: int = 1,
        horizon: int = 16,
        hidden: Sequence[int] = (512, 512, 512),
        std_range: tuple[float, float] = (0.02, 2.0),
        vision: str = "cnn",
        vision_frozen: bool = False,
        text: str = "words",
        text_dim: int = 64,
        image_dim: int = 64,
    ) -> None:
        in_range("GaussianPolicy", least=1, obs_steps=obs_steps, horizon=horizon)
        in_range("GaussianPolicy", least=1, **{f"hidden[{i}]": width for i, width in enumerate(hidden)})
        if len(std_range) != 2 or not 0 < std_range[0] < std_range[1] < math.inf:
            raise ConfigError(
                f"GaussianPolicy: std_range is {std_range}; two positive numbers, the larger last, are meant"
            )
        chunk = Window.imitation(obs_steps=obs_steps, horizon=horizon)
        super().__init__(spec=spec, windows={"policy": chunk})
        self.obs_steps, self.horizon = obs_steps, horizon
        self.log_std_range = (math.log(std_range[0]), math.log(std_range[1]))
        self.encoder = ContextEncoder(
            spec=spec,
            obs_steps=obs_steps,
            vision=vision,
            vision_frozen=vision_frozen,
            text=text,
            text_dim=text_dim,
            image_dim=image_dim,
        )
        self.head = mlp([self.encoder.width, *hidden, 2 * horizon * len(spec.action)])

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group, `policy`."""
        return {"policy": trainable(self.encoder, self.head)}

    def losses(self, batch: Batch, step: int) -> Iterator[Loss]:
        """Negative log-likelihood per element, in normalised units."""
        normal = self._distribution(batch.obs)
        action = self.normalizer.action(clip(batch.action, self.spec))  # where a density exists
        log_prob = normal.log_prob(action)
        yield Loss("policy", masked_mean(-log_prob, batch.is_pad), {"std": normal.std.detach().mean()})

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

        `prefix` is kept as it is; steps are independent, so the rest is distributed as without it.
        """
        check_prefix(prefix, horizon=self.horizon, action_size=len(self.spec.action))
        normal = self._distribution(obs)
        draw = noise or GlobalNoise(device=self.device)
        uniform = draw.uniform(len(normal.mean), n, *normal.mean.shape[1:])
        chunk = self.normalizer.unaction(normal.unsqueeze(1).quantile(uniform))
        return with_prefix(clip(chunk, self.spec), prefix)

    def log_prob(self, obs: Observation, chunk: Float[Tensor, "B N H A"]) -> Float[Tensor, "B N"]:
        """Log-density of `chunk` in physical units; -inf outside the bounds."""
        density = self._distribution(obs).unsqueeze(1).log_prob(self.normalizer.action(chunk))
        # da_n = da / scale, in each of the H A elements
        density = density - self.normalizer.action_scale.abs().log()
        low, high = bounds_of(self.spec, chunk)
        inside = ((chunk >= low) & (chunk <= high)).all(-1).all(-1)
        return density.sum((-2, -1)).masked_fill(~inside, -torch.inf)

    def _distribution(self, obs: Observation) -> TruncatedNormal:
        """Of the normalised chunk, `[B H A]`."""
        state = state_of(obs, spec=self.spec, obs_steps=self.obs_steps)
        out = self.head(self.encoder(obs, self.normalizer.state(state)))
        mean, log_std = out.view(len(out), self.horizon, 2, -1).unbind(2)
        shortest, longest = self.log_std_range
        log_std = shortest + (longest - shortest) * log_std.sigmoid()
        low, high = (self.normalizer.action(bound) for bound in bounds_of(self.spec, mean))
        return TruncatedNormal.inside(mean, log_std.exp(), low=low, high=high)
