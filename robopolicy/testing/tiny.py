"""Tiny real data: the store, sampler and trainer's own noise, on four short episodes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from robopolicy.core.learner import Learner
from robopolicy.core.spec import Image, Spec, Vector
from robopolicy.core.types import Batch, Episode, Observation
from robopolicy.data.sampler import Sampler
from robopolicy.data.store import Store
from robopolicy.train.optim import AdamW
from robopolicy.train.trainer import Trainer, step_noise, to_tensors, with_noise

Build = Callable[[Spec], Learner]
ROWS = 8
TEXTS = ("lift the red block", "open the drawer")


def tiny_spec(*, images: bool = False, text: bool = False) -> Spec:
    """Five state elements and three actions: bounded, bounded on one side, unbounded."""
    return Spec(
        state=Vector.of({f"joint{i}.pos": (-2.0, 2.0, "rad") for i in range(5)}),
        action=Vector.of(
            {"turn": (-0.5, 0.5, "rad"), "push": (0.0, np.inf, "N"), "move": (-np.inf, np.inf, "m")}
        ),
        control_hz=30,
        images={"top": Image(height=16, width=16)} if images else {},
        text=text,
    )


def tiny_store(spec: Spec) -> Store:
    """Four episodes of 20 to 23 steps, whose actions follow from the state; two end by time."""
    random = np.random.default_rng(0)
    return Store.from_episodes([_episode(spec, random, i) for i in range(4)], spec)


def _episode(spec: Spec, random: np.random.Generator, number: int) -> Episode:
    length = 20 + number
    state = np.cumsum(random.normal(0, 0.2, (length, len(spec.state))), axis=0).clip(-2, 2)
    mixing = np.random.default_rng(1).normal(0, 0.5, (len(spec.state), len(spec.action)))
    return Episode(
        state=state.astype(np.float32),
        action=spec.action.clip(state @ mixing).astype(np.float32),
        reward=random.normal(size=length).astype(np.float32),
        terminated=number % 2 == 0,
        success=number % 2 == 0,
        text=TEXTS[number % 2] if spec.text else "",
        images={
            name: random.integers(0, 255, (length, *image.shape), dtype=np.uint8)
            for name, image in spec.images.items()
        },
    )


def tiny_learner(build: Build, spec: Spec, *, seed: int = 0, steps: int = 0) -> Learner:
    """A learner with seeded weights and a normaliser fitted to the tiny data, after a few steps on it.

    Five steps are enough to leave a start where final layers are zero and much is trivially equal.
    """
    torch.manual_seed(seed)
    learner = build(spec)
    learner.normalizer.fit(tiny_store(spec).stats())
    if steps:
        trainer = tiny_trainer(learner, steps)
        for step in range(steps):
            trainer.step(tiny_batch(learner, step=step))
    return learner


def tiny_trainer(learner: Learner, steps: int) -> Trainer:
    """The trainer at a constant rate, fast enough for a few steps to show."""
    settings = AdamW(lr=1e-3, warmup=0, schedule="constant")
    return Trainer(learner=learner, optim=dict.fromkeys(learner.groups(), settings), total=steps, seed=0)


def tiny_batch(learner: Learner, *, step: int = 0, rows: int = ROWS) -> Batch:
    """What the sampler and the trainer would hand to `losses` at one step, some of it padding."""
    sampler = Sampler(store=tiny_store(learner.spec), windows=learner.windows, batch_size=rows, seed=0)
    batch = to_tensors(sampler.batch(step), learner.device)
    return with_noise(batch, step_noise(0, step, rows, 0, rows, learner.device))


def tiny_observation(spec: Spec, obs_steps: int, *, rows: int = 3) -> Observation:
    """Observations `[rows, obs_steps, ..]` from the tiny data."""
    store = tiny_store(spec)
    at = np.linspace(0, store.num_frames - obs_steps, rows).astype(int)[:, None] + np.arange(obs_steps)
    return Observation(
        state=torch.from_numpy(store.state[at]),
        images={name: torch.from_numpy(frames[at]) for name, frames in store.images.items()},
        text=tuple(store.texts[i] for i in store.text_id[at[:, 0]]) if spec.text else None,
    )
