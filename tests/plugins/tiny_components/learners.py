"""Learners that are small enough to be killed a hundred times."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial  # noqa: F401  (an alias that no configuration may reach)
from os import system  # noqa: F401  (likewise)

import torch
from torch import nn

from robopolicy.core.learner import Learner, Loss
from robopolicy.core.spec import Spec
from robopolicy.core.types import Batch, Window


class TinyLearner(Learner):
    """Two groups, dropout, noise and an averaged copy: everything that a resume could get wrong."""

    couples_batch = True

    def __init__(
        self,
        *,
        spec: Spec,
        width: int = 8,
        dropout: float = 0.1,
        name: str | None = None,
        horizons: tuple[int, ...] = (2,),
        head: nn.Module | None = None,
        explode_from: int | None = None,
        explode_to: int = 10**9,
        explode_in: str = "loss",
    ) -> None:
        super().__init__(spec=spec, windows={"policy": Window(chunk=(0, horizons[0]))})
        if width < 1:
            raise ValueError(f"width is {width}; at least 1 is meant")
        self.horizon, self.obs_steps = horizons[0], 1
        size, out = len(spec.state), len(spec.action) * self.horizon
        self.actor = nn.Sequential(
            nn.Linear(size, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, out)
        )
        self.critic = head if head is not None else nn.Linear(size, 1)
        self.average = copy.deepcopy(self.actor).requires_grad_(False)
        self.explode_from, self.explode_to, self.explode_in = explode_from, explode_to, explode_in

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One per network."""
        return {"critic": list(self.critic.parameters()), "actor": list(self.actor.parameters())}

    def losses(self, batch: Batch, step: int) -> Iterator[Loss | tuple[Loss, ...]]:
        """A regression that moves with the noise, then an actor that looks at the critic."""
        assert batch.noise is not None
        state = self.normalizer.state(batch.obs.state[:, -1])
        action = self.normalizer.action(batch.action).flatten(1)
        value = self.critic(state)[:, 0]
        loss = (value - action.mean(1) - 0.1 * batch.noise.normal(len(batch))).square().mean()
        if self.explode_from is not None and self.explode_from <= step < self.explode_to:
            # The second: a finite loss whose gradient is not, since sqrt is infinitely steep at 0.
            loss = loss * torch.nan if self.explode_in == "loss" else loss + (0 * value.sum()).abs().sqrt()
        yield Loss("critic", loss, {"value": value.detach().mean()})
        error = (self.actor(state) - action).square().mean()
        yield Loss("actor", error + 0.01 * self.critic(state).mean())

    def after(self, group: str, step: int) -> None:
        """Average the actor."""
        if group == "actor":
            with torch.no_grad():
                for mean, new in zip(self.average.parameters(), self.actor.parameters(), strict=True):
                    mean.lerp_(new, 0.1)


class _Hidden(TinyLearner):
    """Private: no configuration may name it."""


def make_head(*, size: int, bias: bool = True) -> nn.Module:
    """A builder function, for nested nodes."""
    return nn.Linear(size, 1, bias=bias)
