"""The kit finds what it is there to find: one fault each, and no fault in what is sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from pointmass import PointMass
from torch import nn

from robopolicy.core.learner import Learner, Loss
from robopolicy.core.spec import Spec
from robopolicy.core.types import Batch, Window
from robopolicy.ops.chunks import check_prefix, clip, with_prefix
from robopolicy.ops.inputs import GlobalNoise, noise_of, state_of
from robopolicy.testing import check_env, check_learner, check_policy, tiny_learner, tiny_spec


class Sound(Learner):
    """Two groups, regressing the chunk with a little noise: the least that keeps every promise."""

    horizon, obs_steps = 4, 1

    def __init__(self, *, spec: Spec) -> None:
        super().__init__(spec=spec, windows={"policy": Window(chunk=(0, self.horizon))})
        self.shape = (self.horizon, len(spec.action))
        self.shared = nn.Linear(len(spec.state), 32)
        self.net = nn.Linear(32, self.horizon * len(spec.action))

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"shared": list(self.shared.parameters()), "net": list(self.net.parameters())}

    def losses(self, batch: Batch, step: int) -> Iterator[Loss | tuple[Loss, ...]]:
        noise = 0.1 * noise_of(batch).normal(len(batch), *self.shape)
        error = self.mean(batch.obs) + noise - self.normalizer.action(batch.action)
        yield Loss("shared", error.square().mean()), Loss("net", error.square().mean())

    def mean(self, obs) -> torch.Tensor:
        state = self.normalizer.state(state_of(obs, spec=self.spec, obs_steps=1))
        return self.net(torch.tanh(self.shared(state[:, 0]))).unflatten(1, self.shape)

    @torch.no_grad()
    def sample(self, obs, n=1, *, prefix=None, noise=None):
        check_prefix(prefix, horizon=self.horizon, action_size=self.shape[1])
        draw = noise or GlobalNoise(device=self.device)
        chunk = self.mean(obs)[:, None] + 0.1 * draw.normal(len(obs.state), n, *self.shape)
        return with_prefix(clip(self.normalizer.unaction(chunk), self.spec), prefix)


class SumOverRows(Sound):
    def losses(self, batch, step):
        for shared, net in super().losses(batch, step):
            yield replace(shared, value=shared.value * len(batch)), net


class OwnNoise(Sound):
    def losses(self, batch, step):
        for shared, net in super().losses(batch, step):
            yield shared, replace(net, value=net.value * (1 + torch.rand(())))


class LeftOut(Sound):
    def groups(self):
        return {"shared": list(self.shared.parameters()), "net": [self.net.weight]}


class Unreached(Sound):
    def __init__(self, *, spec):
        super().__init__(spec=spec)
        self.idle = nn.Linear(3, 3)

    def groups(self):
        return {**super().groups(), "idle": list(self.idle.parameters())}


class Counts(Sound):
    def __init__(self, *, spec):
        super().__init__(spec=spec)
        self.register_buffer("count", torch.zeros(()))

    def losses(self, batch, step):
        self.count += 1
        yield from super().losses(batch, step)


class LooksAtData(Sound):
    def losses(self, batch, step):
        for shared, net in super().losses(batch, step):
            yield (shared, net) if batch.index[0] % 2 else (net, shared)


class Reaches(Sound):
    def losses(self, batch, step):
        for shared, net in super().losses(batch, step):
            yield shared
            yield net

    def after(self, group, step):
        with torch.no_grad():
            self.shared.weight.mul_(0.9)
            self.net.weight.mul_(0.9)


class Climbs(Sound):
    """The right loss with its gradient the wrong way round."""

    def losses(self, batch, step):
        for losses in super().losses(batch, step):
            yield tuple(replace(loss, value=2 * loss.value.detach() - loss.value) for loss in losses)


class Forgets(Sound):
    def __init__(self, *, spec):
        super().__init__(spec=spec)
        self.gain = torch.rand(())

    def mean(self, obs):
        return self.gain + super().mean(obs)


class NotFinite(Sound):
    def losses(self, batch, step):
        for losses in super().losses(batch, step):
            yield tuple(replace(loss, value=loss.value / 0) for loss in losses)


LEARNER_FAULTS = {
    SumOverRows: "micro-batch",
    OwnNoise: "the same batch and noise",
    LeftOut: "differ",
    Unreached: "no loss reaches",
    Counts: r"losses\(\) changed",
    LooksAtData: "on another",
    Reaches: "moved parameters",
    Climbs: "took the loss",
    Forgets: "leaves out",
    NotFinite: "is inf",
}


class Unbounded(Sound):
    def sample(self, obs, n=1, *, prefix=None, noise=None):
        return 100 + super().sample(obs, n, prefix=prefix, noise=noise)


class Coupled(Sound):
    def mean(self, obs):
        means = super().mean(obs)
        return means - means.mean(0)


class ForgetsPrefix(Sound):
    def sample(self, obs, n=1, *, prefix=None, noise=None):
        return super().sample(obs, n, noise=noise)


class Indifferent(Sound):
    def mean(self, obs):
        return super().mean(replace(obs, state=obs.state[:, :1, :5]))


class LeavesGradients(Sound):
    @torch.enable_grad()
    def sample(self, obs, n=1, *, prefix=None, noise=None):
        self.mean(obs).sum().backward()
        return super().sample(obs, n, prefix=prefix, noise=noise)


class Compares(Sound):
    def log_prob(self, obs, chunk):
        density = -(self.normalizer.action(chunk) - self.mean(obs)[:, None]).square().sum((-2, -1))
        return density - density[:, :1]


class Pretends(Sound):
    """Time runs backwards: at time 1 there is only noise left."""

    noise_shape = (4, 3)

    def encode(self, obs):
        return self.mean(obs)

    def decode(self, ctx, noise):
        return self.normalizer.unaction(ctx[:, None] + noise)

    def velocity(self, ctx, x, t):
        return ctx[:, None] - x

    def clean(self, ctx, x, t):
        return self.normalizer.unaction(x + t[..., None, None] * self.velocity(ctx, x, t))


POLICY_FAULTS = {
    Unbounded: "leaves the action's bounds",
    Coupled: "rows beside it",
    ForgetsPrefix: "prefix was changed",
    Indifferent: "wrong state is accepted",
    LeavesGradients: "left gradients",
    Compares: "candidates beside it",
    Pretends: "time reversed",
}


def test_a_sound_learner_passes() -> None:
    check_learner(lambda spec: Sound(spec=spec), spec=tiny_spec())


@pytest.mark.parametrize("faulty", LEARNER_FAULTS, ids=lambda kind: kind.__name__)
def test_a_faulty_learner_is_found_out(faulty: type[Sound]) -> None:
    with pytest.raises(AssertionError, match=LEARNER_FAULTS[faulty]):
        check_learner(lambda spec: faulty(spec=spec), spec=tiny_spec())


@pytest.mark.parametrize("faulty", POLICY_FAULTS, ids=lambda kind: kind.__name__)
def test_a_faulty_policy_is_found_out(faulty: type[Sound]) -> None:
    policy = tiny_learner(lambda spec: faulty(spec=spec), tiny_spec(), steps=5)
    with pytest.raises(AssertionError, match=POLICY_FAULTS[faulty]):
        check_policy(policy)  # type: ignore[arg-type]


class Unseeded(PointMass):
    def reset(self, seed):
        return super().reset(np.random.default_rng().integers(1000))


class SharesMemory(PointMass):
    def __init__(self):
        super().__init__()
        self.memory = np.zeros(4, np.float32)

    def _obs(self):
        obs = super()._obs()
        self.memory[:] = obs.state
        return replace(obs, state=self.memory)


class Doubles(PointMass):
    def _obs(self):
        return super()._obs().map(lambda array: array.astype(np.float64))


class Obeys(PointMass):
    def step(self, action):
        return replace(super().step(action), applied=np.array(action))


ENV_FAULTS = {
    Unseeded: "seed 0 gave two episodes",
    SharesMemory: "overwritten|two episodes|begin alike",
    Doubles: "not float32",
    Obeys: "left its bounds",
}


def test_a_sound_environment_passes() -> None:
    check_env(lambda: PointMass(cameras=True))


@pytest.mark.parametrize("faulty", ENV_FAULTS, ids=lambda kind: kind.__name__)
def test_a_faulty_environment_is_found_out(faulty: type[PointMass]) -> None:
    with pytest.raises(AssertionError, match=ENV_FAULTS[faulty]):
        check_env(faulty)
