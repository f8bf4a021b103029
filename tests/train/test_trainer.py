"""The trainer's promises, on learners whose losses are written into each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robopolicy.core.errors import ConfigError
from robopolicy.core.learner import Learner, Loss
from robopolicy.core.spec import Spec, Vector
from robopolicy.core.types import Batch, Observation, Window
from robopolicy.policies.act import ACTPolicy
from robopolicy.policies.diffusion import DiffusionPolicy
from robopolicy.policies.flow import FlowPolicy
from robopolicy.policies.gaussian import GaussianPolicy
from robopolicy.testing import tiny_batch, tiny_learner, tiny_spec
from robopolicy.train.optim import AdamW, GroupOptimizer
from robopolicy.train.trainer import MAX_BAD, DivergedError, Trainer, networks_of, to_tensors, validate

SPEC = Spec(
    state=Vector.of({"x": (-1, 1, "1"), "y": (-1, 1, "1")}),
    action=Vector.of({"u": (-1, 1, "1")}),
    control_hz=30.0,
)
PLAIN = AdamW(lr=0.1, warmup=0, schedule="constant", clip=None, weight_decay=0.0)
Script = Callable[["Scripted", Batch, int], Iterator[Loss | tuple[Loss, ...]]]


class Scripted(Learner):
    """Two scalars, `a` and `b`, each a group, and losses that a test writes."""

    def __init__(self, script: Script) -> None:
        super().__init__(spec=SPEC, windows={"policy": Window()})
        self.a, self.b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
        self.script = script
        self.calls: list[tuple[str, int]] = []

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"a": [self.a], "b": [self.b]}

    def losses(self, batch: Batch, step: int) -> Iterator[Loss | tuple[Loss, ...]]:
        return self.script(self, batch, step)

    def after(self, group: str, step: int) -> None:
        self.calls.append((group, step))


def batch(rows: int = 8) -> Batch:
    rng = np.random.default_rng(0)
    view = Batch(
        obs=Observation(state=rng.normal(size=(rows, 1, 2)).astype(np.float32)),
        action=rng.normal(size=(rows, 1, 1)).astype(np.float32),
        is_pad=np.zeros((rows, 1), bool),
    )
    numpy_batch = Batch(obs=view.obs, action=view.action, is_pad=view.is_pad, views={"other": view})
    return to_tensors(numpy_batch, torch.device("cpu"))


def trainer(script: Script, settings: AdamW = PLAIN, **options: Any) -> Trainer:
    return Trainer(
        learner=Scripted(script), optim={"a": settings, "b": settings}, total=100, seed=0, **options
    )


def parameters(stepper: Trainer) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in stepper.learner.parameters()]


def test_a_gradient_never_leaves_its_group() -> None:
    def script(m: Scripted, b: Batch, step: int) -> Iterator[Loss]:
        yield Loss("b", (m.b + 100 * m.a).sum())

    stepper = trainer(script)
    stepper.step(batch())
    learner = stepper.learner
    assert isinstance(learner, Scripted)
    assert torch.equal(learner.a, torch.ones(2))
    assert torch.allclose(learner.b, torch.full((2,), 0.9))
    assert all(parameter.grad is None for parameter in learner.parameters())
    assert {name for name in stepper.state() if name.endswith("exp_avg")} == {"optim/b/b/exp_avg"}


@pytest.mark.parametrize("together", [False, True])
def test_losses_in_turn_see_each_others_steps_and_a_tuple_does_not(together: bool) -> None:
    seen: list[torch.Tensor] = []

    def script(m: Scripted, b: Batch, step: int) -> Iterator[Loss | tuple[Loss, ...]]:
        shared = (m.a * m.b).sum()  # one graph for both
        if together:
            yield Loss("a", shared), Loss("b", 2 * shared)
        else:
            yield Loss("a", m.a.sum())
            seen.append(m.a.detach().clone())
            yield Loss("b", (m.a.detach() * m.b).sum())

    stepper = trainer(script)
    stepper.step(batch())
    assert isinstance(stepper.learner, Scripted)
    assert stepper.learner.calls == [("a", 0), ("b", 0)]
    if together:
        assert torch.allclose(stepper.state()["optim/b/b/exp_avg"], torch.full((2,), 0.2))  # of a = 1
    else:
        assert torch.allclose(seen[0], torch.full((2,), 0.9))
        assert torch.allclose(stepper.state()["optim/b/b/exp_avg"], torch.full((2,), 0.09))  # of a = 0.9


def test_control_flow_decides_how_often_a_group_steps() -> None:
    def script(m: Scripted, b: Batch, step: int) -> Iterator[Loss]:
        for _ in range(4):
            yield Loss("a", m.a.square().sum())
        if step % 2 == 0:
            yield Loss("b", m.b.square().sum())

    stepper = trainer(script)
    for _ in range(10):
        stepper.step(batch())
    assert stepper.state()["optim/a/a/step"] == 40
    assert stepper.state()["optim/b/b/step"] == 5


@given(parts=st.sampled_from([2, 3, 4, 8]), steps=st.integers(1, 3))
def test_micro_batches_equal_the_full_batch(parts: int, steps: int) -> None:
    def script(m: Scripted, b: Batch, step: int) -> Iterator[Loss | tuple[Loss, ...]]:
        noise, other = b.noise, b["other"].noise
        assert noise is not None
        assert other is not None
        x = b.obs.state[:, 0] + noise.normal(len(b), 2)
        yield Loss("a", (m.a * x - 1).square().mean(), {"x": x.detach().mean()})
        y = (m.b * b["other"].obs.state[:, 0]).sum(1) + other.uniform(len(b))
        yield Loss("a", (m.a * y[:, None]).mean()), Loss("b", y.square().mean())

    whole, cut = trainer(script), trainer(script, microbatches=parts)
    for _ in range(steps):
        expected, found = whole.step(batch()), cut.step(batch())
        assert expected.keys() == found.keys()
        for name in expected:
            assert torch.allclose(expected[name], found[name], atol=1e-5), name
    for a, b in zip(parameters(whole), parameters(cut), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_losses_that_depend_on_the_data_are_found_out() -> None:
    def script(m: Scripted, b: Batch, step: int) -> Iterator[Loss]:
        if b.obs.state[0, 0, 0] == batch().obs.state[0, 0, 0]:
            yield Loss("a", m.a.sum())

    with pytest.raises(RuntimeError, match="must not depend on the data"):
        trainer(script, microbatches=2).step(batch())


def broken(where: str, steps: range) -> Script:
    def script(m: Scripted, b: Batch, step: int) -> Iterator[Loss]:
        loss = (m.a * b.obs.state[:, 0]).square().mean()
        if step in steps:  # sqrt is infinitely steep at 0: a finite loss with a gradient that is not
            loss = loss * torch.nan if where == "loss" else loss + (0 * m.a.sum()).abs().sqrt()
        yield Loss("a", loss)
        yield Loss("b", (m.a.detach() * m.b).square().mean())

    return script


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing_and_the_next_goes_on(where: str) -> None:
    stepper = trainer(broken(where, range(2, 4)))
    for step in range(6):
        before = {**stepper.state(), **stepper.learner.state_dict()}
        before = {name: value.clone() for name, value in before.items() if name != "bad"}
        stepper.step(batch())
        after = {**stepper.state(), **stepper.learner.state_dict()}
        unchanged = all(torch.equal(after[name], value) for name, value in before.items())
        assert unchanged == (step in range(2, 4))
    assert stepper.check() == 2
    assert all(torch.isfinite(parameter).all() for parameter in parameters(stepper))


def test_the_run_stops_after_five_in_a_row_and_not_after_four() -> None:
    calm = trainer(broken("loss", range(0, MAX_BAD - 1)))
    for _ in range(10):
        calm.step(batch())
    wild = trainer(broken("loss", range(3, 100)))
    for _ in range(3 + MAX_BAD - 1):
        wild.step(batch())
    with pytest.raises(DivergedError, match="5 steps in a row, up to step 8"):
        wild.step(batch())
    assert all(torch.isfinite(parameter).all() for parameter in parameters(wild))


def test_the_fused_clip_is_the_clip() -> None:
    torch.manual_seed(0)
    shapes = [(3, 4), (4,), (2, 2, 2)]
    mine = {str(i): nn.Parameter(torch.randn(shape)) for i, shape in enumerate(shapes)}
    reference = [nn.Parameter(parameter.detach().clone()) for parameter in mine.values()]
    settings = AdamW(lr=0.1, weight_decay=0.1, clip=1.0, warmup=0, schedule="constant")
    optimizer = GroupOptimizer(settings=settings, parameters=mine, total=10)
    decayed = {"params": [p for p in reference if p.ndim >= 2], "weight_decay": 0.1}
    theirs = torch.optim.AdamW(
        [decayed, {"params": [p for p in reference if p.ndim < 2], "weight_decay": 0.0}], lr=0.1
    )
    for scale in (0.01, 10.0, 3.0, 0.5):
        gradients = [scale * torch.randn_like(parameter) for parameter in reference]
        for parameter, gradient in zip(reference, gradients, strict=True):
            parameter.grad = gradient.clone()
        nn.utils.clip_grad_norm_(reference, 1.0)
        theirs.step()
        for parameter, gradient in zip(mine.values(), gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step(0, norm=optimizer.gradient_norm(), bad=torch.zeros(()))
        for a, b in zip(mine.values(), reference, strict=True):
            assert torch.allclose(a, b, atol=1e-6)


@given(warmup=st.integers(0, 50), total=st.integers(1, 200), final=st.floats(0, 1), step=st.integers(0, 300))
def test_the_rate_stays_between_its_ends(warmup: int, total: int, final: float, step: int) -> None:
    settings = AdamW(lr=2.0, warmup=warmup, schedule="cosine", final=final)
    rate = settings.lr_at(step, total)
    assert 0 <= rate <= 2.0 + 1e-9
    if step >= warmup:
        assert rate >= 2.0 * final - 1e-9
        assert settings.lr_at(step + 1, total) <= rate + 1e-12
    if warmup:
        assert settings.lr_at(warmup - 1, total) == pytest.approx(2.0)
    assert settings.lr_at(max(total, warmup + 1), total) == pytest.approx(2.0 * final)


def test_validation_is_repeatable_and_changes_nothing() -> None:
    def script(m: Scripted, b: Batch, step: int) -> Iterator[Loss | tuple[Loss, ...]]:
        assert b.noise is not None
        assert not m.training
        assert not torch.is_grad_enabled()
        yield Loss("a", (m.a * b.noise.normal(len(b), 2)).mean())
        yield Loss("b", m.b.mean()), Loss("b", m.b.mean())

    learner = Scripted(script).train()
    first = validate(learner, [batch(), batch()], seed=3)
    assert first == validate(learner, [batch(), batch()], seed=3)
    assert first["loss/b"] == 2.0
    assert first != validate(learner, [batch(), batch()], seed=4)
    assert learner.training
    assert learner.calls == []


def test_groups_must_hold_every_parameter_once() -> None:
    learner = Scripted(lambda m, b, step: iter(()))
    learner.groups = lambda: {"a": [learner.a]}  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match=r"leaves out \['b'\]"):
        Trainer(learner=learner, optim={}, total=1, seed=0)
    learner.groups = lambda: {"a": [learner.a, learner.b], "b": [learner.b]}  # pyright: ignore
    with pytest.raises(ValueError, match=r"holds \['b'\] twice"):
        Trainer(learner=learner, optim={}, total=1, seed=0)
    learner.b.requires_grad_(False)  # frozen: needs no group
    learner.groups = lambda: {"a": [learner.a]}  # pyright: ignore
    Trainer(learner=learner, optim={}, total=1, seed=0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "bf16"}, "15 to 20 times slower"),
        ({"precision": "fp16"}, "one of"),
        ({"compile": True}, "compile=false"),
    ],
)
def test_options_that_a_cpu_does_not_profit_from_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        trainer(lambda m, b, step: iter(()), **options)


@pytest.mark.parametrize("policy", [ACTPolicy, DiffusionPolicy, FlowPolicy, GaussianPolicy])
def test_what_would_be_compiled_is_what_a_loss_calls(policy):
    learner = tiny_learner(lambda spec: policy(spec=spec, horizon=8), tiny_spec())
    called = set()
    for network in networks_of(learner):
        network.register_forward_pre_hook(lambda module, _: called.update(module.parameters()))
    list(learner.losses(tiny_batch(learner), 0))
    assert {p for p in learner.parameters() if p.requires_grad and p.ndim > 1} - called <= {
        getattr(learner, name, None) for name in ("style_token", "positions")
    }
