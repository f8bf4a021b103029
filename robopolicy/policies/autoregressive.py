"""Action chunks as tokens, written one by one (Brohan et al. 2022, arXiv:2212.06817; Kim et al. 2024,
arXiv:2406.09246).

Each element of the chunk (step h, action element i) falls into one of K bins, whose number c is its token. A
causal transformer gives every token's distribution, given the observation and all tokens before it,

    L = - E log p(c_1 | o) - E log p(c_2 | o, c_1) - ... ,

and a sample is the centres of the bins of tokens drawn in turn. Within its bin a number is taken to be spread
evenly, so that the likelihood is a density: the product of `p(c) / (width of the bin)`.

Differs from the papers: the transformer is small, starts at random and sees the observation as one vector. A
few demonstrations do not fill so many bins, and what is read off the first tokens of a chunk that was seen
needs no observation. Hence the bins beside the right one count as partly right (`ops.bins.spread_over`), and
in training the tokens that are read are those of slightly wrong actions, as they will be when the policy
reads its own. Both leave a proper distribution, only a little wider than the data's. The loss is a mean over
tokens, padding left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from robopolicy.core.learner import Learner, Loss, trainable
from robopolicy.core.normalize import Normalizer
from robopolicy.core.ranges import in_range
from robopolicy.core.spec import Spec
from robopolicy.core.types import Batch, Noise, Observation, Window
from robopolicy.nn.causal import CausalTransformer
from robopolicy.nn.context import ContextEncoder
from robopolicy.ops import bins
from robopolicy.ops.chunks import check_prefix, clip, masked_mean, with_prefix
from robopolicy.ops.inputs import GlobalNoise, noise_of, state_of


class AutoregressivePolicy(Learner):
    """A `Policy`, `NoiseDecoder` and `Likelihood`. Group: `policy`.

    Args:
        spec: what is seen and commanded.
        obs_steps: history length T.
        horizon: chunk length H.
        num_bins: K, tokens of one action element.
        binning: where their edges are; `ops.bins.uniform` or `quantile`.
        spread: of what a token is to learn, in bins; near 0, the right bin alone.
        jitter: standard deviation of what is added to the actions that are read, in normalised units.
        width, depth, heads: see `nn.causal.CausalTransformer`.
        temperature: of the draws; below 1 they keep closer to what is likeliest.
        top_p: draws are among the likeliest tokens that together hold this probability; near 0, the one.
        vision, vision_frozen, text, text_dim, image_dim: see `nn.context.ContextEncoder`.

    Attributes:
        noise_shape: of one candidate's noise, (H, A): which of the tokens each draw takes.
    """

    def __init__(
        self,
        *,
        spec: Spec,
        obs_steps: int = 1,
        horizon: int = 16,
        num_bins: int = 256,
        binning: bins.Binning = bins.uniform,
        spread: float = 2.0,
        jitter: float = 0.05,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        temperature: float = 1.0,
        top_p: float = 1.0,
        vision: str = "cnn",
        vision_frozen: bool = False,
        text: str = "words",
        text_dim: int = 64,
        image_dim: int = 64,
    ) -> None:
        in_range("AutoregressivePolicy", least=1, obs_steps=obs_steps, horizon=horizon)
        in_range("AutoregressivePolicy", least=2, num_bins=num_bins)
        in_range("AutoregressivePolicy", above=0, spread=spread, temperature=temperature)
        in_range("AutoregressivePolicy", least=0, jitter=jitter)
        in_range("AutoregressivePolicy", above=0, most=1, top_p=top_p)
        chunk = Window.imitation(obs_steps=obs_steps, horizon=horizon)
        super().__init__(spec=spec, windows={"policy": chunk})
        self.normalizer = Normalizer(spec=spec, quantiles=True)
        self.obs_steps, self.horizon = obs_steps, horizon
        self.num_bins, self.binning = num_bins, binning
        self.spread, self.jitter = spread, jitter
        self.temperature, self.top_p = temperature, top_p
        self.noise_shape = (horizon, len(spec.action))
        self.encoder = ContextEncoder(
            spec=spec,
            obs_steps=obs_steps,
            vision=vision,
            vision_frozen=vision_frozen,
            text=text,
            text_dim=text_dim,
            image_dim=image_dim,
        )
        self.network = CausalTransformer(
            action_size=len(spec.action),
            horizon=horizon,
            num_bins=num_bins,
            context_size=self.encoder.width,
            width=width,
            depth=depth,
            heads=heads,
        )

    def groups(self) -> dict[str, list[torch.nn.Parameter]]:
        """One group, `policy`."""
        return {"policy": trainable(self.encoder, self.network)}

    def losses(self, batch: Batch, step: int) -> Iterator[Loss]:
        """Cross-entropy per token, in nats."""
        action, edges = self.normalizer.action(batch.action), self.edges
        read = action + self.jitter * noise_of(batch).normal(*action.shape)
        logits = self.network(self.encode(batch.obs), bins.tokens_of(read, edges))
        wanted = bins.spread_over(action, edges, self.spread)
        error = -(wanted * logits.log_softmax(-1)).sum(-1)
        yield Loss("policy", masked_mean(error, batch.is_pad))

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

        `prefix` is kept as it is; the rest is drawn given its tokens, as the chunk's own would be.
        """
        check_prefix(prefix, horizon=self.horizon, action_size=len(self.spec.action))
        ctx = self.encode(obs)
        draw = noise or GlobalNoise(device=self.device)
        start = draw.normal(len(ctx), n, *self.noise_shape)
        return with_prefix(self._decode(ctx, start, prefix), prefix)

    def log_prob(self, obs: Observation, chunk: Float[Tensor, "B N H A"]) -> Float[Tensor, "B N"]:
        """Log-density of `chunk` in physical units; -inf outside the bins.

        That of the distribution learned: `temperature` and `top_p` shape draws alone.
        """
        action, edges = self.normalizer.action(chunk), self.edges
        tokens = bins.tokens_of(action, edges)
        ctx = self.encode(obs).repeat_interleave(chunk.shape[1], dim=0)
        logits = self.network(ctx, tokens.flatten(0, 1))
        chosen = logits.log_softmax(-1).gather(-1, tokens.flatten(0, 1)[..., None]).view(tokens.shape)
        # a bin's physical width is its width times the scale
        density = chosen - (bins.widths_of(tokens, edges) * self.normalizer.action_scale.abs()).log()
        inside = bins.within(action, edges).all(-1).all(-1)
        return density.sum((-2, -1)).masked_fill(~inside, -torch.inf)

    def encode(self, obs: Observation) -> Float[Tensor, "B D"]:
        """The context."""
        state = state_of(obs, spec=self.spec, obs_steps=self.obs_steps)
        return self.encoder(obs, self.normalizer.state(state))

    @torch.no_grad()
    def decode(self, ctx: Float[Tensor, "B D"], noise: Float[Tensor, "B N H A"]) -> Float[Tensor, "B N H A"]:
        """Standard normal `noise` to chunks within the spec's bounds; in steps, hence without a gradient."""
        return self._decode(ctx, noise, None)

    @property
    def edges(self) -> bins.Edges:
        """Of the bins, in normalised units."""
        return self.binning(self.normalizer.action_quantiles, self.num_bins)

    def _decode(
        self, ctx: Float[Tensor, "B D"], noise: Float[Tensor, "B N H A"], prefix: Tensor | None
    ) -> Float[Tensor, "B N H A"]:
        uniform = torch.special.ndtr(noise).flatten(0, 1).flatten(1)
        edges = self.edges
        committed = noise[:, 0, :0] if prefix is None else self.normalizer.action(prefix)
        tokens = self.network.generate(
            ctx,
            noise.shape[1],
            lambda logits, i: bins.draw(bins.nucleus(logits, self.temperature, self.top_p), uniform[:, i]),
            bins.tokens_of(committed, edges),
        )
        return clip(self.normalizer.unaction(bins.centres_of(tokens, edges)), self.spec)
