"""What every learner promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial

import torch

from robopolicy.core.learner import Learner, Loss
from robopolicy.core.protocols import ChunkPolicy
from robopolicy.core.spec import Spec
from robopolicy.core.types import Batch
from robopolicy.testing.policies import POLICY_CHECKS, draw
from robopolicy.testing.tiny import (
    ROWS,
    Build,
    tiny_batch,
    tiny_learner,
    tiny_spec,
    tiny_trainer,
)
from robopolicy.train.trainer import step_noise, validate, with_noise


def losses_are_finite(build: Build, spec: Spec) -> None:
    """Every loss is a finite scalar of a declared group, with and without gradients."""
    learner = tiny_learner(build, spec)
    groups, batch = learner.groups(), tiny_batch(learner)
    found = [loss for round_ in rounds(learner, batch, 0) for loss in round_]
    assert found, "losses() yields nothing"
    for loss in found:
        assert loss.group in groups, f"a loss names group '{loss.group}'; groups() has {sorted(groups)}"
        assert loss.value.shape == (), f"loss of '{loss.group}' has shape {tuple(loss.value.shape)}, not ()"
        assert torch.isfinite(loss.value), f"loss of '{loss.group}' is {loss.value.item()}"
        assert not any(metric.requires_grad for metric in loss.metrics.values()), "metrics must be detached"


def groups_cover_the_parameters(build: Build, spec: Spec) -> None:
    """Each trainable parameter is in exactly one group, and the loss of its group reaches it."""
    learner = tiny_learner(build, spec)
    groups = learner.groups()
    names = {parameter: name for name, parameter in learner.named_parameters() if parameter.requires_grad}
    owned = [parameter for group in groups.values() for parameter in group]
    assert len(set(owned)) == len(owned), "a parameter is in two groups"
    assert set(owned) == set(names), "groups() and the trainable parameters differ"
    reached: set[torch.nn.Parameter] = set()
    for step in range(4):
        for loss in (
            loss for round_ in rounds(learner, tiny_batch(learner, step=step), step) for loss in round_
        ):
            gradients = torch.autograd.grad(
                loss.value, groups[loss.group], allow_unused=True, retain_graph=True
            )
            reached |= {p for p, g in zip(groups[loss.group], gradients, strict=True) if g is not None}
    assert reached == set(owned), f"no loss reaches {[names[p] for p in set(owned) - reached]}"


def losses_change_nothing(build: Build, spec: Spec) -> None:
    """Running `losses` to its end leaves weights, buffers and gradients alone, and repeats itself."""
    learner = tiny_learner(build, spec).eval()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    first, second = _values(learner), _values(learner)
    assert first == second, f"the same batch and noise gave {first}, then {second}"
    changed = [name for name, value in learner.state_dict().items() if not torch.equal(value, before[name])]
    assert not changed, f"losses() changed {changed}"
    assert all(parameter.grad is None for parameter in learner.parameters()), "losses() left gradients"


def groups_do_not_depend_on_data(build: Build, spec: Spec) -> None:
    """Which groups are stepped, and in which order, follows from the step alone."""
    learner = tiny_learner(build, spec)
    for step in range(3):
        one, other = (
            [[loss.group for loss in round_] for round_ in rounds(learner, tiny_batch(learner, step=i), step)]
            for i in (step, 97)
        )
        assert one == other, f"step {step} yields {one} on one batch and {other} on another"


def updates_stay_in_their_group(build: Build, spec: Spec) -> None:
    """A group's step and what follows it move no other group's parameters."""
    learner = tiny_learner(build, spec)
    groups = learner.groups()
    for round_ in rounds(learner, tiny_batch(learner), 0):
        moving = {loss.group for loss in round_}
        still = {name: [p.clone() for p in ps] for name, ps in groups.items() if name not in moving}
        descend(learner, round_, step=0)
        for name, was in still.items():
            same = all(torch.equal(p, q) for p, q in zip(groups[name], was, strict=True))
            assert same, f"the update of {sorted(moving)} moved parameters of '{name}'"


def fixed_batch_is_learned(build: Build, spec: Spec) -> None:
    """Forty steps of the trainer on one batch lower the loss, under noise not trained on, by a tenth."""
    learner = tiny_learner(build, spec)
    batch = tiny_batch(learner)
    before = sum(validate(learner, [batch], seed=1).values())
    trainer = tiny_trainer(learner, 40)
    for _ in range(40):
        trainer.step(batch)
    after = sum(validate(learner, [batch], seed=1).values())
    assert after < before - 0.1 * abs(before), f"40 steps on one batch took the loss from {before} to {after}"


def microbatches_equal_the_batch(build: Build, spec: Spec) -> None:
    """The mean of the gradients of two halves is the gradient of the whole."""
    learner = tiny_learner(build, spec, steps=5)
    if learner.couples_batch:
        return
    whole = tiny_batch(learner)
    halves = [
        with_noise(whole.rows(rows), step_noise(0, 0, ROWS, rows.start, rows.stop, learner.device))
        for rows in (slice(0, ROWS // 2), slice(ROWS // 2, ROWS))
    ]
    for want, first, second in zip(*(_gradients(learner, batch) for batch in (whole, *halves)), strict=True):
        error = ((first + second) / 2 - want).abs().max() / want.abs().max().clamp(min=1e-6)
        assert error < 1e-3, (
            f"a micro-batch's gradient differs by {error:.1e}; is a loss not a mean over rows?"
        )


def saved_is_what_is_loaded(build: Build, spec: Spec) -> None:
    """A learner's state in another's place gives the same losses and the same samples, bit by bit."""
    one, other = (tiny_learner(build, spec, seed=seed, steps=5).eval() for seed in (0, 1))
    assert _values(one) != _values(other), "weights do not depend on the seed"
    other.load_state_dict(one.state_dict())
    assert _values(one) == _values(other), "state_dict() leaves out what the losses need"
    if isinstance(one, ChunkPolicy) and isinstance(other, ChunkPolicy):
        assert torch.equal(draw(one), draw(other)), "state_dict() leaves out what sampling needs"


LEARNER_CHECKS: tuple[Callable[[Build, Spec], None], ...] = (
    losses_are_finite,
    groups_cover_the_parameters,
    losses_change_nothing,
    groups_do_not_depend_on_data,
    updates_stay_in_their_group,
    fixed_batch_is_learned,
    microbatches_equal_the_batch,
    saved_is_what_is_loaded,
)


def check_learner(build: Build, *, spec: Spec | None = None) -> None:
    """Try everything a learner promises; a learner that is a policy is also tried as one.

    Args:
        build: gives the learner for a spec.
        spec: None tries states alone and states with images and text.
    """
    for _, check in learner_checks(build, spec=spec):
        check()


def learner_checks(build: Build, *, spec: Spec | None = None) -> Iterator[tuple[str, Callable[[], object]]]:
    """The checks of `check_learner` one by one, each with its name; run each before the next is taken."""
    for each in (tiny_spec(), tiny_spec(images=True, text=True)) if spec is None else (spec,):
        seen = "images" if each.images else "states"
        built: list[Learner] = []
        yield f"{seen}: it_is_built", lambda built=built, each=each: built.append(tiny_learner(build, each))
        if not built:
            continue
        for check in LEARNER_CHECKS:
            yield f"{seen}: {check.__name__}", partial(check, build, each)
        if isinstance(built[0], ChunkPolicy):
            trained = cache(partial(_trained_policy, build, each))
            for check in POLICY_CHECKS:
                yield f"{seen}: {check.__name__}", lambda check=check, trained=trained: check(trained())


def _trained_policy(build: Build, spec: Spec) -> ChunkPolicy:
    learner = tiny_learner(build, spec, steps=5).eval()
    assert isinstance(learner, ChunkPolicy)
    return learner


def descend(learner: Learner, losses: tuple[Loss, ...], *, step: int, rate: float = 1e-3) -> None:
    """What the trainer does with one yield, by plain gradient descent."""
    groups = learner.groups()
    gradients = [
        torch.autograd.grad(loss.value, groups[loss.group], retain_graph=True, materialize_grads=True)
        for loss in losses
    ]
    for loss, of_group in zip(losses, gradients, strict=True):
        for parameter, gradient in zip(groups[loss.group], of_group, strict=True):
            parameter.data.sub_(gradient, alpha=rate)
        learner.after(loss.group, step)


def rounds(learner: Learner, batch: Batch, step: int) -> Iterator[tuple[Loss, ...]]:
    """What `losses` yields, each yield as a tuple."""
    for losses in learner.losses(batch, step):
        yield (losses,) if isinstance(losses, Loss) else losses


def _values(learner: Learner) -> list[float]:
    """The losses of the tiny batch, whose noise is made anew: a batch's noise runs on as it is drawn."""
    return [loss.value.item() for round_ in rounds(learner, tiny_batch(learner), 0) for loss in round_]


def _gradients(learner: Learner, batch: Batch) -> list[torch.Tensor]:
    """The gradient of every loss with respect to every parameter of its group."""
    groups = learner.groups()
    return [
        gradient
        for round_ in rounds(learner, batch, 0)
        for loss in round_
        for gradient in torch.autograd.grad(
            loss.value, groups[loss.group], retain_graph=True, materialize_grads=True
        )
    ]
