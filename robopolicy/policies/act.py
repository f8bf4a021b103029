"""Action chunking with transformers (Zhao et al. 2023, arXiv:2304.13705): a conditional VAE over chunks.

A style encoder reads the demonstrated chunk a into a latent z, a transformer turns observation and z into a
chunk at one go,

    L = | a - decode(o, z) |_1 + kl_weight KL( q(z | a, o) || N(0, I) ) ,    z ~ q(z | a, o) ,

and z = 0, the prior's mean, acts. Further candidates of one observation take z from the prior.

Differs from the paper: cameras and history steps are told apart by a learned embedding, an instruction is one
more token, the vision trunk is small by default and starts at random, one decoder layer is the default (the
authors' code used the first of its seven only), and the style encoder's last layer computes no more than the
token that is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from robopolicy.core.learner import Learner, Loss, trainable
from robopolicy.core.ranges import in_range
from robopolicy.core.spec import Spec
from robopolicy.core.types import Batch, Noise, Observation, Window
from robopolicy.nn.context import camera_groups, frames_of, texts_of
from robopolicy.nn.language import text_embedding
from robopolicy.nn.transformer import Decoder, Encoder, sinusoids
from robopolicy.nn.vision import ImageTokens, feature_maps
from robopolicy.ops.chunks import check_prefix, clip, masked_mean, with_prefix
from robopolicy.ops.inputs import GlobalNoise, noise_of, state_of


class ACTPolicy(Learner):
    """A `Policy` and `NoiseDecoder`, whose noise is the latent. Group: `policy`.

    Args:
        spec: what is seen and commanded.
        obs_steps: history length T.
        horizon: chunk length H.
        width: D, of a token.
        heads: of all attentions.
        feedforward: hidden width of the layers' MLPs.
        encoder_layers: of the encoder, and of the style encoder.
        decoder_layers: of the decoder.
        latent: size of z.
        kl_weight: see above.
        dropout: in training.
        vision, vision_frozen, text: see `nn.context.ContextEncoder`.
        patch: side, in features of the vision trunk, of the square that makes one token.
        text_dim: width of an instruction's embedding.

    Attributes:
        noise_shape: of one candidate's latent, (latent,).
    """

    places: Tensor

    def __init__(
        self,
        *,
        spec: Spec,
        obs_steps: int = 1,
        horizon: int = 16,
        width: int = 256,
        heads: int = 8,
        feedforward: int = 1024,
        encoder_layers: int = 4,
        decoder_layers: int = 1,
        latent: int = 32,
        kl_weight: float = 10.0,
        dropout: float = 0.1,
        vision: str = "cnn",
        vision_frozen: bool = False,
        patch: int = 1,
        text: str = "words",
        text_dim: int = 64,
    ) -> None:
        in_range("ACTPolicy", least=1, obs_steps=obs_steps, horizon=horizon, width=width, heads=heads)
        in_range("ACTPolicy", least=1, feedforward=feedforward, latent=latent, patch=patch, text_dim=text_dim)
        in_range("ACTPolicy", least=1, encoder_layers=encoder_layers, decoder_layers=decoder_layers)
        in_range("ACTPolicy", least=0, kl_weight=kl_weight)
        in_range("ACTPolicy", least=0, below=1, dropout=dropout)
        chunk = Window.imitation(obs_steps=obs_steps, horizon=horizon)
        super().__init__(spec=spec, windows={"policy": chunk})
        self.obs_steps, self.horizon = obs_steps, horizon
        self.kl_weight = kl_weight
        self.couples_batch = dropout > 0  # its random numbers are not keyed by row
        self.noise_shape = (latent,)
        state_size, action_size = obs_steps * len(spec.state), len(spec.action)
        layers = {"width": width, "heads": heads, "hidden": feedforward, "dropout": dropout}

        # style: a chunk to the mean and log-variance of z
        self.style_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.style_state, self.style_action = nn.Linear(state_size, width), nn.Linear(action_size, width)
        self.style = Encoder(layers=encoder_layers, **layers)
        self.style_head = nn.Linear(width, 2 * latent)
        self.register_buffer("places", sinusoids(2 + horizon, width), persistent=False)

        # observation to tokens
        self.state_token = nn.Linear(state_size, width)
        self.text = text_embedding(text, width=text_dim) if spec.text else None
        self.text_token = nn.Linear(text_dim, width) if spec.text else None
        self._groups = tuple(camera_groups(spec).items())
        maps = feature_maps([image for image, _ in self._groups], trunk=vision, frozen=vision_frozen)
        self.images = nn.ModuleList(
            ImageTokens(features=each, sources=len(names) * obs_steps, width=width, patch=patch)
            for each, (_, names) in zip(maps, self._groups, strict=True)
        )

        # tokens and latent to a chunk
        self.latent_token = nn.Linear(latent, width)
        self.positions = nn.Parameter(0.02 * torch.randn(2 + spec.text, width))  # latent, state, text
        self.encoder = Encoder(layers=encoder_layers, **layers)
        self.decoder = Decoder(length=horizon, layers=decoder_layers, **layers)
        self.head = nn.Linear(width, action_size)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group, `policy`."""
        return {"policy": trainable(self)}

    def losses(self, batch: Batch, step: int) -> Iterator[Loss]:
        """Reconstruction, in normalised units, and the latent's divergence from the prior."""
        action = self.normalizer.action(batch.action)
        mean, log_var = self._infer(self._state(batch.obs), action, batch.is_pad)
        z = mean + (0.5 * log_var).exp() * noise_of(batch).normal(*mean.shape)
        chunk = self._generate(self.encode(batch.obs), z)
        l1 = masked_mean((chunk - action).abs(), batch.is_pad)
        kl = 0.5 * (mean.square() + log_var.exp() - log_var - 1).sum(-1).mean()
        yield Loss("policy", l1 + self.kl_weight * kl, {"l1": l1.detach(), "kl": kl.detach()})

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

        The first is that of z = 0; the others draw z from the prior. `prefix` is kept as it is; the
        rest is as it would be without it.
        """
        check_prefix(prefix, horizon=self.horizon, action_size=len(self.spec.action))
        ctx = self.encode(obs)
        z = ctx.new_zeros(len(ctx), n, *self.noise_shape)
        if n > 1:
            draw = noise or GlobalNoise(device=self.device)
            z[:, 1:] = draw.normal(len(ctx), n - 1, *self.noise_shape)
        return with_prefix(self.decode(ctx, z), prefix)

    def encode(self, obs: Observation) -> Float[Tensor, "B L D"]:
        """The tokens of the observation."""
        tokens = [self.state_token(self._state(obs))[:, None]]
        if self.text is not None and self.text_token is not None:
            tokens.append(self.text_token(self.text(texts_of(obs)))[:, None])
        for (_, names), images in zip(self._groups, self.images, strict=True):
            tokens.append(images(frames_of(obs, names)))
        return torch.cat(tokens, dim=1)

    def decode(
        self, ctx: Float[Tensor, "B L D"], noise: Float[Tensor, "B N latent"]
    ) -> Float[Tensor, "B N H A"]:
        """Latents `noise` to chunks within the spec's bounds; differentiable."""
        candidates = noise.shape[1]
        chunk = self._generate(ctx.repeat_interleave(candidates, dim=0), noise.flatten(0, 1))
        return clip(self.normalizer.unaction(chunk), self.spec).unflatten(0, (-1, candidates))

    def _state(self, obs: Observation) -> Float[Tensor, "B D"]:
        """The history, flat and normalised."""
        return self.normalizer.state(state_of(obs, spec=self.spec, obs_steps=self.obs_steps)).flatten(1)

    def _infer(
        self, state: Float[Tensor, "B D"], action: Float[Tensor, "B H A"], is_pad: Bool[Tensor, "B H"]
    ) -> tuple[Float[Tensor, "B latent"], Float[Tensor, "B latent"]]:
        """Mean and log-variance of q(z | a, o)."""
        first = self.style_token.expand(len(state), -1, -1)
        tokens = torch.cat([first, self.style_state(state)[:, None], self.style_action(action)], dim=1)
        seen = torch.cat([is_pad.new_zeros(len(state), 2), is_pad], dim=1)
        style = self.style(tokens, self.places, seen, first_only=True).squeeze(1)
        mean, log_var = self.style_head(style).chunk(2, dim=-1)
        return mean, log_var

    def _generate(
        self, tokens: Float[Tensor, "R L D"], z: Float[Tensor, "R latent"]
    ) -> Float[Tensor, "R H A"]:
        """Tokens and latents to normalised chunks."""
        kinds = cast("Iterable[ImageTokens]", self.images)
        positions = torch.cat([self.positions, *[images.positions() for images in kinds]])
        memory = self.encoder(torch.cat([self.latent_token(z)[:, None], tokens], dim=1), positions)
        return self.head(self.decoder(memory, positions))
