"""The one loop body that learns.

A learner's `losses` is a generator. This trainer takes a yielded loss, differentiates it with respect to that
loss's group only, steps that group's optimiser, calls `after(group)` and resumes the generator; the losses of
a yielded tuple are all differentiated before any of their groups steps. Micro-batches advance in lock-step,
one graph alive at a time, with noise keyed by row, so that they equal the full batch.

A loss or gradient that is not finite leaves every parameter and moment as it was for the rest of that step.
The decision is taken on the learner's device, inside the optimiser's kernel; the host reads the count when it
costs nothing: at every step on a CPU, with the logged metrics on a GPU.

Everything random is keyed by (seed, step): the rows, the noise, and torch's own generator for dropout. A run
resumed from step k therefore needs no generator state.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from robopolicy.core.errors import ConfigError, UserError
from robopolicy.core.learner import Learner, Loss
from robopolicy.core.noise import StepNoise
from robopolicy.core.normalize import Normalizer
from robopolicy.core.types import Batch
from robopolicy.train.optim import AdamW, GroupOptimizer

PRECISIONS = ("fp32", "bf16")
MAX_BAD = 5  # steps in a row that are not finite before the run stops


class DivergedError(UserError):
    """Too many steps in a row were not finite."""


class Trainer:
    """Steps a learner.

    Args:
        learner: on its device already; put into train mode.
        optim: settings per group; a group that is not named gets `AdamW()`.
        total: steps of the whole run, for schedules.
        seed: of everything random.
        microbatches: equal parts into which a batch is cut, to save memory.
        precision: `fp32`, or `bf16` autocast (CUDA only).
        compile: compile the learner's networks (CUDA only).

    Attributes:
        count: steps made.

    Raises:
        ConfigError: an unknown group or precision, or an option that needs a GPU.
    """

    def __init__(
        self,
        *,
        learner: Learner,
        optim: Mapping[str, AdamW],
        total: int,
        seed: int,
        microbatches: int = 1,
        precision: str = "fp32",
        compile: bool = False,
    ) -> None:
        self.learner, self.seed, self.microbatches = learner.train(), seed, microbatches
        self.count = 0
        self.device = learner.device
        _check_options(precision, compile, self.device)
        self._autocast = precision == "bf16"
        if compile:
            for network in networks_of(learner):
                network.compile()
        named = _named_groups(learner)
        if unknown := optim.keys() - named.keys():
            raise ConfigError(f"optim names the groups {sorted(unknown)}; this learner has {sorted(named)}")
        self._optimizers = {
            group: GroupOptimizer(settings=optim.get(group, AdamW()), parameters=parameters, total=total)
            for group, parameters in named.items()
        }
        # on the device: bad steps in all, bad steps in a row now, most in a row so far
        self._bad = torch.zeros(3, device=self.device)

    def step(self, batch: Batch) -> dict[str, torch.Tensor]:
        """One update from a batch of tensors on the learner's device.

        Returns:
            Detached scalars on the device: `loss/<group>`, `grad_norm/<group>` and the learner's metrics.

        Raises:
            DivergedError: `MAX_BAD` steps in a row were not finite (on a GPU found out by `check`).
        """
        seed_dropout(step_key(self.seed, self.count), self.device)
        parts = list(self._parts(batch))
        streams = [(self.learner.losses(part, self.count), weight) for part, weight in parts]
        metrics: dict[str, torch.Tensor] = {}
        bad = torch.zeros((), device=self.device)
        while (losses := self._differentiate(streams, metrics)) is not None:
            norms = {group: self._optimizers[group].gradient_norm() for group in losses}
            for group, norm in norms.items():
                metrics |= {f"loss/{group}": losses[group], f"grad_norm/{group}": norm}
                bad = torch.maximum(bad, (~torch.isfinite(norm + losses[group])).float())
            for group, norm in norms.items():
                self._optimizers[group].step(self.count, norm=norm, bad=bad)
            for group in norms:
                self.learner.after(group, self.count)
        self.count += 1
        total, row, most = self._bad
        row = (row + 1) * bad
        self._bad = torch.stack([total + bad, row, torch.maximum(most, row)])
        if self.device.type == "cpu":
            self.check()
        return metrics

    def check(self) -> int:
        """The number of steps skipped so far; waits for the device.

        Raises:
            DivergedError: `MAX_BAD` steps in a row were not finite.
        """
        total, _, most = self._bad.tolist()
        if most >= MAX_BAD:
            raise DivergedError(
                f"{MAX_BAD} steps in a row, up to step {self.count}, gave a loss or gradient that is not "
                f"finite; look for NaN in the data (`robopolicy data check`) or lower optim.lr"
            )
        return int(total)

    def rates(self) -> dict[str, float]:
        """The learning rate of each group at the next step, by `lr/<group>`."""
        return {f"lr/{group}": optimizer.rate(self.count) for group, optimizer in self._optimizers.items()}

    def state(self) -> dict[str, torch.Tensor]:
        """What a resumed trainer needs beside the learner's weights and `count`."""
        moments = {
            f"optim/{group}/{name}": value
            for group, optimizer in self._optimizers.items()
            for name, value in optimizer.state().items()
        }
        return moments | {"bad": self._bad}

    def load_state(self, state: Mapping[str, torch.Tensor], *, count: int) -> None:
        """Inverse of `state`."""
        self.count, self._bad = count, state["bad"].to(self.device, copy=True)
        for group, optimizer in self._optimizers.items():
            prefix = f"optim/{group}/"
            optimizer.load_state({k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)})

    def _parts(self, batch: Batch) -> Iterator[tuple[Batch, float]]:
        """The micro-batches, each with its own rows' noise, and the share of rows it holds."""
        total = len(batch)
        bounds = [total * i // self.microbatches for i in range(self.microbatches + 1)]
        for start, stop in itertools.pairwise(bounds):
            part = batch if stop - start == total else batch.rows(slice(start, stop))
            noise = step_noise(self.seed, self.count, total, start, stop, self.device)
            yield with_noise(part, noise), (stop - start) / total

    def _differentiate(
        self,
        streams: list[tuple[Iterator[Loss | tuple[Loss, ...]], float]],
        metrics: dict[str, torch.Tensor],
    ) -> dict[str, torch.Tensor] | None:
        """Advance every micro-batch by one yield and leave the gradients of its groups on their parameters.

        Returns the loss of each group, or None when every micro-batch has ended; the learner's own metrics
        are written into `metrics`.
        """
        losses: dict[str, torch.Tensor] = {}
        said: dict[str, torch.Tensor] = {}
        ended = 0
        for stream, weight in streams:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
                yielded = next(stream, None)
            if yielded is None:
                ended += 1
                continue
            together = (yielded,) if isinstance(yielded, Loss) else yielded
            for loss in together:
                # `backward`, not `autograd.grad`: it gives gradients the layout of their parameters and
                # memory of their own, which the fused kernel counts on.
                (loss.value * weight).backward(
                    inputs=self._parameters(loss.group), retain_graph=loss is not together[-1]
                )
                losses[loss.group] = losses.get(loss.group, 0) + loss.value.detach() * weight
                for name, value in loss.metrics.items():
                    said[name] = said.get(name, 0) + value.detach() * weight
        if ended == len(streams):
            return None
        if ended:
            raise RuntimeError("micro-batches yielded different losses: `losses` must not depend on the data")
        metrics |= said
        return losses

    def _parameters(self, group: str) -> list[nn.Parameter]:
        if group not in self._optimizers:
            raise ValueError(f"a loss names the group '{group}'; groups() has {sorted(self._optimizers)}")
        return list(self._optimizers[group].parameters.values())


def networks_of(learner: Learner) -> Iterator[nn.Module]:
    """The modules that a learner calls, which compiling is about; a `ModuleDict` is never called itself."""
    for child in learner.children():
        if isinstance(child, nn.ModuleDict):
            yield from child.values()
        elif not isinstance(child, Normalizer):
            yield child


def validate(learner: Learner, batches: Iterable[Batch], *, seed: int) -> dict[str, float]:
    """Mean losses over batches of held-out episodes, by `loss/<group>`; changes nothing in the learner.

    The noise is the same at every call, so that two calls differ by the weights only.
    """
    was_training = learner.training
    learner.eval()
    sums: dict[str, torch.Tensor | float] = {}
    number = 0
    for number, batch in enumerate(batches, start=1):
        noise = step_noise(seed, number, len(batch), 0, len(batch), learner.device)
        with torch.no_grad():
            for losses in learner.losses(with_noise(batch, noise), 0):
                for loss in (losses,) if isinstance(losses, Loss) else losses:
                    sums[loss.group] = sums.get(loss.group, 0.0) + loss.value
    learner.train(was_training)
    return {f"loss/{group}": float(total) / number for group, total in sums.items()}


def to_tensors(batch: Batch, device: torch.device) -> Batch:
    """A sampler's numpy batch as tensors on `device`; copies to a GPU overlap with its work."""
    if device.type == "cpu":
        return batch.map(torch.from_numpy)
    return batch.map(lambda array: torch.from_numpy(array).pin_memory().to(device, non_blocking=True))


def with_noise(batch: Batch, noise: StepNoise) -> Batch:
    """`batch` and its views, drawing from `noise`."""
    views = {name: with_noise(view, noise) for name, view in batch.views.items()}
    return replace(batch, noise=noise, views=views)


def step_noise(seed: int, step: int, total: int, start: int, stop: int, device: torch.device) -> StepNoise:
    """The noise of rows `start .. stop` at one step."""
    return StepNoise(seed=seed, step=step, total=total, start=start, stop=stop, device=str(device))


def step_key(seed: int, step: int) -> int:
    """The seed of torch's own generator (dropout) at one step."""
    return int(np.random.SeedSequence([seed, step, 1]).generate_state(1, np.uint64)[0] >> 1)


def seed_dropout(key: int, device: torch.device) -> None:
    """Seed torch's own generator of `device`; `torch.manual_seed` visits every backend, every time."""
    generator = torch.default_generator
    if device.type == "cuda":
        generator = torch.cuda.default_generators[device.index or 0]
    generator.manual_seed(key)


def _named_groups(learner: Learner) -> dict[str, dict[str, nn.Parameter]]:
    """The learner's groups with their parameters' names; each trainable parameter in exactly one."""
    names = {parameter: name for name, parameter in learner.named_parameters()}
    groups = {
        group: {names[parameter]: parameter for parameter in parameters}
        for group, parameters in learner.groups().items()
    }
    owned = [name for parameters in groups.values() for name in parameters]
    trainable = {name for name, parameter in learner.named_parameters() if parameter.requires_grad}
    if twice := sorted({name for name in owned if owned.count(name) > 1}):
        raise ValueError(f"{type(learner).__name__}.groups() holds {twice} twice")
    if frozen := sorted(set(owned) - trainable):
        raise ValueError(
            f"{type(learner).__name__}.groups() holds {frozen}, which are frozen; leave them out"
        )
    if forgotten := sorted(trainable - set(owned)):
        raise ValueError(f"{type(learner).__name__}.groups() leaves out {forgotten}; freeze or add them")
    return groups


def _check_options(precision: str, compile: bool, device: torch.device) -> None:
    if precision not in PRECISIONS:
        raise ConfigError(f"precision is '{precision}'; one of {list(PRECISIONS)} is meant")
    if device.type == "cuda":
        return
    if precision == "bf16":
        raise ConfigError(
            "precision is 'bf16' on a CPU, where it was measured 15 to 20 times slower than fp32; "
            "use precision=fp32, or device=cuda"
        )
    if compile:
        raise ConfigError(
            "compile is true on a CPU, where it was measured to gain nothing and to take 9 to 26 s; "
            "use compile=false, or device=cuda"
        )
