"""What every environment promises, be it a simulator or a robot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from robopolicy.core.protocols import Env
from robopolicy.core.spec import Spec
from robopolicy.core.types import Observation, Step


def check_env(make: Callable[[], Env], *, steps: int = 30) -> None:
    """Try what an environment promises.

    Steps match the spec in shape, type and bounds; a seed fixes an episode and another seed begins another;
    what was returned is never written to again; commands out of bounds are applied within them; closing
    twice is harmless.

    Args:
        make: gives a fresh environment; called twice.
        steps: length of the tried episodes.
    """
    env, twin = make(), make()
    try:
        actions = random_actions(env.spec, steps)
        first, again = _roll(env, 0, actions), _roll(twin, 0, actions)
        for number, (one, other) in enumerate(zip(first, again, strict=True)):
            assert _same(one.obs, other.obs), f"seed 0 gave two episodes: they differ at step {number}"
            assert (one.reward, one.done) == (other.reward, other.done), f"step {number} is not repeatable"
        kept = [step.obs.map(np.copy) for step in first]
        other = _roll(env, 1, actions)
        assert not _same(first[0].obs, other[0].obs), "seeds 0 and 1 begin alike"
        assert all(map(_same, kept, (step.obs for step in first))), "an old observation was overwritten"
        assert all(map(_same, kept, (s.obs for s in _roll(env, 0, actions)))), (
            "an episode leaks into the next"
        )
        step = _roll(env, 0, [10 * action for action in actions[:1]])[-1]
        assert step.applied is not None, "step.applied is None after a step"
        assert np.array_equal(step.applied, env.spec.action.clip(step.applied)), "a command left its bounds"
    finally:
        for made in (env, twin):
            made.close()
            made.close()


def random_actions(spec: Spec, steps: int) -> list[np.ndarray]:
    """Random commands within the bounds (within 1 of them or of zero where a side is open)."""
    low = np.where(np.isfinite(spec.action.low), spec.action.low, np.minimum(spec.action.high, 0.0) - 1.0)
    high = np.where(np.isfinite(spec.action.high), spec.action.high, np.maximum(spec.action.low, 0.0) + 1.0)
    return list(np.random.default_rng(0).uniform(low, high, (steps, len(low))).astype(np.float32))


def _roll(env: Env, seed: int, actions: list[np.ndarray]) -> list[Step]:
    """The steps of one episode, each looked at."""
    steps = [env.reset(seed)]
    for action in actions:
        if steps[-1].done:
            break
        steps.append(env.step(action))
    for step in steps:
        _check_frame(env.spec, step.obs)
        assert isinstance(step.info.get("success"), bool), "step.info['success'] must be a bool"
        assert np.isfinite(step.reward), f"reward is {step.reward}"
    return steps


def _check_frame(spec: Spec, obs: Observation) -> None:
    assert obs.state.shape == (len(spec.state),), (
        f"state has shape {obs.state.shape}, not ({len(spec.state)},)"
    )
    assert obs.state.dtype == np.float32, f"state is {obs.state.dtype}, not float32"
    assert np.isfinite(obs.state).all(), "state is not finite"
    assert set(obs.images) == set(spec.images), f"cameras {sorted(obs.images)}, not {sorted(spec.images)}"
    for name, image in spec.images.items():
        frame = obs.images[name]
        assert (frame.shape, frame.dtype) == (image.shape, np.uint8), (
            f"'{name}' is {frame.dtype} {frame.shape}"
        )
    assert not spec.text or (obs.text is not None and len(obs.text) == 1), "one instruction is missing"


def _same(one: Observation, other: Observation) -> bool:
    return np.array_equal(one.state, other.state) and all(
        np.array_equal(one.images[name], other.images[name]) for name in one.images
    )
