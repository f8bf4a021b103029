"""What learns: a module that says which data it wants and yields its losses in the order of its paper.

A learner owns no optimiser, no loop, no dataset and no device. `losses` is a pure generator: the trainer
differentiates each yielded loss with respect to that loss's group only, steps that group's optimiser, calls
`after(group, step)` and resumes the generator. A yielded tuple is differentiated at the same parameters
before any of its groups steps. Since `losses` changes nothing, it serves as the validation loss too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from robopolicy.core.normalize import Normalizer
from robopolicy.core.spec import Spec
from robopolicy.core.types import Batch, Window


@dataclass(frozen=True)
class Loss:
    """One objective of one parameter group.

    Args:
        group: a key of `Learner.groups()`.
        value: scalar tensor, a mean over rows (so that micro-batches average to the full batch).
        metrics: detached tensors worth a curve; means are logged. Reading them is the trainer's affair, not
            the step's: nothing here may force the device to wait.
    """

    group: str
    value: torch.Tensor
    metrics: Mapping[str, torch.Tensor] = field(default_factory=dict)


class Learner(nn.Module, ABC):
    """Base of everything that is trained. Subclasses are final: they differ in `losses`, not in a hierarchy.

    Args:
        spec: what is seen and commanded; physical units.
        windows: what a batch must hold; the first entry is the batch itself, the others are `batch[name]`.

    Attributes:
        normalizer: fitted by the run from the dataset's statistics before the first step; its buffers travel
            with the weights.
        couples_batch: true where a row's loss depends on the other rows (batch statistics, contrastive terms,
            dropout); such a learner's micro-batches do not equal the full batch, and conformance does not ask
            it.
    """

    couples_batch: bool = False

    def __init__(self, *, spec: Spec, windows: Mapping[str, Window]) -> None:
        super().__init__()
        self.spec = spec
        self.windows = dict(windows)
        self.normalizer = Normalizer(spec=spec)

    @abstractmethod
    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameter groups by name; each trainable parameter in exactly one."""

    @abstractmethod
    def losses(self, batch: Batch, step: int) -> Iterator[Loss | tuple[Loss, ...]]:
        """Yield the losses of one update, in order. May depend on `step`, never on the data's values."""

    def after(self, group: str, step: int) -> None:
        """Called when `group` has been stepped: target networks, averaged weights."""

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device


def trainable(*modules: nn.Module) -> list[nn.Parameter]:
    """The parameters of `modules` that learn: what is frozen belongs to no group."""
    return [each for module in modules for each in module.parameters() if each.requires_grad]
