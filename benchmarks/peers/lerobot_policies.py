"""lerobot 0.4.4's side: its own policies, configurations and optimiser presets.

A training step is what its training loop does to a batch: forward, backward, clip, optimiser step.
Inference is `generate_actions` / `predict_action_chunk` alone; the normalising processors that it runs
before and after both are left out, in its favour.
"""

from __future__ import annotations

import torch
from bench import Case, matmul, serve, size
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
from lerobot.policies.pretrained import PreTrainedPolicy
from shapes import ACT, ACTION, BATCH, ROBOT, UNET, WORLD

FEATURES = {
    "input_features": {
        "observation.state": PolicyFeature(FeatureType.STATE, (ROBOT,)),
        "observation.environment_state": PolicyFeature(FeatureType.ENV, (WORLD,)),
    },
    "output_features": {"action": PolicyFeature(FeatureType.ACTION, (ACTION,))},
    "device": "cpu",
}


def diffusion() -> DiffusionPolicy:
    return DiffusionPolicy(
        DiffusionConfig(
            n_obs_steps=UNET["obs_steps"],
            horizon=UNET["horizon"],
            down_dims=UNET["widths"],
            noise_scheduler_type="DDIM",
            num_inference_steps=UNET["steps"],
            **FEATURES,
        )
    )


def act() -> ACTPolicy:
    return ACTPolicy(
        ACTConfig(
            chunk_size=ACT["horizon"],
            n_action_steps=ACT["horizon"],
            dim_model=ACT["width"],
            dim_feedforward=ACT["feedforward"],
            n_encoder_layers=ACT["encoder_layers"],
            n_decoder_layers=ACT["decoder_layers"],
            n_vae_encoder_layers=ACT["encoder_layers"],
            pretrained_backbone_weights=None,
            **FEATURES,
        )
    )


def observation(rows: int, steps: tuple[int, ...]) -> dict[str, torch.Tensor]:
    return {
        "observation.state": torch.randn(rows, *steps, ROBOT),
        "observation.environment_state": torch.randn(rows, *steps, WORLD),
    }


def training(policy: PreTrainedPolicy, steps: tuple[int, ...], horizon: int) -> Case:
    preset = policy.config.get_optimizer_preset()
    optimizer = preset.build(policy.get_optim_params())
    batch = observation(BATCH, steps) | {
        "action": torch.rand(BATCH, horizon, ACTION) * 2 - 1,
        "action_is_pad": torch.zeros(BATCH, horizon, dtype=torch.bool),
    }
    policy.train()

    def run() -> None:
        loss, _ = policy.forward(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), preset.grad_clip_norm)
        optimizer.step()
        optimizer.zero_grad()

    return Case(run=run, parameters=size(policy))


def unet_train() -> Case:
    return training(diffusion(), (UNET["obs_steps"],), UNET["horizon"])


def act_train() -> Case:
    return training(act(), (), ACT["horizon"])


def unet_sample() -> Case:
    policy = diffusion().eval()
    obs = observation(1, (UNET["obs_steps"],))

    @torch.no_grad()
    def run() -> None:
        policy.diffusion.generate_actions(obs)

    return Case(run=run, parameters=size(policy))


def act_sample() -> Case:
    policy = act().eval()
    obs = observation(1, ())
    return Case(run=lambda: policy.predict_action_chunk(obs), parameters=size(policy))


if __name__ == "__main__":
    serve(
        {
            "matmul": matmul,
            "unet_train": unet_train,
            "unet_sample": unet_sample,
            "act_train": act_train,
            "act_sample": act_sample,
        }
    )
