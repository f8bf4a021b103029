"""AdamW for one parameter group, with a schedule that is a function of the step and a clip that never waits.

Decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101), on matrices only: biases and gains are not
decayed. The rate warms up linearly, then stays or follows half a cosine to `final` times `lr`.

The update itself is one fused kernel, which leaves parameters and moments untouched where the step is flagged
bad. The flag and the gradients' norm are tensors on the learner's device, so nothing waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from robopolicy.core.errors import ConfigError
from robopolicy.core.ranges import in_range

SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """How one group is optimised.

    Args:
        lr: the rate after warm-up.
        betas: decay of the first and second moment.
        eps: added to the root of the second moment.
        weight_decay: per unit of rate, on matrices.
        clip: largest norm of the group's gradient; None lets it be.
        warmup: steps of linear warm-up.
        schedule: `constant` or `cosine`.
        final: the rate at the last step, as a share of `lr`.
    """

    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-6
    clip: float | None = 10.0
    warmup: int = 500
    schedule: str = "cosine"
    final: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        if self.schedule not in SCHEDULES:
            raise ConfigError(f"optim: schedule is '{self.schedule}'; one of {list(SCHEDULES)} is meant")
        if len(self.betas) != 2:
            raise ConfigError(f"optim: betas is {self.betas}; two numbers are meant")
        in_range("optim", above=0, lr=self.lr, eps=self.eps, clip=self.clip)
        in_range("optim", least=0, weight_decay=self.weight_decay, warmup=self.warmup)
        in_range("optim", least=0, most=1, final=self.final)
        in_range("optim", least=0, below=1, **{f"betas[{i}]": beta for i, beta in enumerate(self.betas)})

    def lr_at(self, step: int, total: int) -> float:
        """The rate at `step` (from 0) of `total`."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.schedule == "constant":
            return self.lr
        done = min(1.0, (step - self.warmup) / max(1, total - self.warmup))
        return self.lr * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done)))


class GroupOptimizer:
    """The optimiser of one group.

    Args:
        settings: rates and limits.
        parameters: by name; the names are those under which the moments are saved.
        total: steps of the whole run, for the schedule.
    """

    def __init__(self, *, settings: AdamW, parameters: Mapping[str, nn.Parameter], total: int) -> None:
        self.settings, self.parameters, self.total = settings, dict(parameters), total
        matrices = [p for p in self.parameters.values() if p.ndim >= 2]
        others = [p for p in self.parameters.values() if p.ndim < 2]
        self._adam = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": settings.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=settings.lr,
            betas=settings.betas,
            eps=settings.eps,
            fused=True,
        )

    def gradient_norm(self) -> torch.Tensor:
        """The norm of the group's gradients together, `[]`, without waiting for the device."""
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        return nn.utils.get_total_norm(gradients, foreach=True) if gradients else torch.zeros(())

    def step(self, step: int, *, norm: torch.Tensor, bad: torch.Tensor) -> None:
        """Update the group from its parameters' gradients, and drop those.

        Args:
            step: for the schedule.
            norm: of the gradients; they are clipped by it.
            bad: 1 leaves parameters and moments as they are, 0 does not; float32 `[]`.
        """
        clip = self.settings.clip
        # On a CPU the norm is known, and most steps need no clipping; a GPU is not asked.
        if clip is not None and (norm.is_cuda or norm > clip):
            nn.utils.clip_grads_with_norm_(self.parameters.values(), clip, norm, foreach=True)
        for group in self._adam.param_groups:
            group["lr"] = self.rate(step)
        self._adam.found_inf = bad  # pyright: ignore  (torch's fused kernels read it; GradScaler sets it so)
        self._adam.step()
        for parameter in self.parameters.values():
            parameter.grad = None

    def rate(self, step: int) -> float:
        """The learning rate at `step`."""
        return self.settings.lr_at(step, self.total)

    def state(self) -> dict[str, torch.Tensor]:
        """The moments and step counts, by `<parameter>/<moment>`."""
        return {
            f"{name}/{key}": value
            for name, parameter in self.parameters.items()
            for key, value in self._adam.state.get(parameter, {}).items()
        }

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Inverse of `state`."""
        self._adam.state.clear()
        for key, value in state.items():
            name, _, moment = key.rpartition("/")
            parameter = self.parameters[name]
            self._adam.state[parameter][moment] = value.to(parameter.device, copy=True)
