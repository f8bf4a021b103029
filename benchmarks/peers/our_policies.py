"""Our side: the policies as a user gets them, stepped by the trainer that trains them.

A training step is `Trainer.step` on a batch of tensors: normalisation, loss, gradients, clip, optimiser
and averaged weights. Inference is `sample`: normalisation, network, clipping to the action's bounds.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from bench import Case, matmul, serve, size
from shapes import ACT, ACTION, BATCH, ROBOT, UNET, WORLD

from robopolicy.core.learner import Learner
from robopolicy.core.protocols import Policy
from robopolicy.core.spec import Spec, Vector
from robopolicy.core.threads import keep_freed_memory
from robopolicy.core.types import Batch, Observation
from robopolicy.nn.unet1d import UNet1d
from robopolicy.policies.act import ACTPolicy
from robopolicy.policies.diffusion import DiffusionPolicy
from robopolicy.train.trainer import Trainer

SPEC = Spec(
    state=Vector.of(
        {f"joint{i}.pos": (-1.0, 1.0, "rad") for i in range(ROBOT)}
        | {f"env.{i}": (-1.0, 1.0, "m") for i in range(WORLD)}
    ),
    action=Vector.of({f"joint{i}.pos": (-1.0, 1.0, "rad") for i in range(ACTION)}),
    control_hz=30.0,
)


def diffusion() -> DiffusionPolicy:
    return DiffusionPolicy(
        spec=SPEC,
        obs_steps=UNET["obs_steps"],
        horizon=UNET["horizon"],
        network=partial(UNet1d, widths=UNET["widths"]),
        steps=UNET["steps"],
    )


def act() -> ACTPolicy:
    return ACTPolicy(
        spec=SPEC,
        horizon=ACT["horizon"],
        width=ACT["width"],
        feedforward=ACT["feedforward"],
        encoder_layers=ACT["encoder_layers"],
        decoder_layers=ACT["decoder_layers"],
    )


def observation(rows: int, steps: int) -> Observation:
    return Observation(state=torch.randn(rows, steps, len(SPEC.state)))


def training(policy: Learner, obs_steps: int, horizon: int) -> Case:
    trainer = Trainer(learner=policy, optim={}, total=10_000, seed=0)
    batch = Batch(
        obs=observation(BATCH, obs_steps),
        action=torch.rand(BATCH, horizon, ACTION) * 2 - 1,
        is_pad=torch.zeros(BATCH, horizon, dtype=torch.bool),
        index=torch.from_numpy(np.arange(BATCH)),
    )
    return Case(run=lambda: trainer.step(batch), parameters=size(policy))


def sampling(policy: Policy, parameters: int, obs_steps: int) -> Case:
    obs = observation(1, obs_steps)
    return Case(run=lambda: policy.sample(obs), parameters=parameters)


def unet_sample() -> Case:
    policy = diffusion().eval()
    return sampling(policy, size(policy), UNET["obs_steps"])


def act_sample() -> Case:
    policy = act().eval()
    return sampling(policy, size(policy), 1)


if __name__ == "__main__":
    keep_freed_memory()  # as a training run does
    serve(
        {
            "matmul": matmul,
            "unet_train": lambda: training(diffusion(), UNET["obs_steps"], UNET["horizon"]),
            "unet_sample": unet_sample,
            "act_train": lambda: training(act(), 1, ACT["horizon"]),
            "act_sample": act_sample,
        }
    )
