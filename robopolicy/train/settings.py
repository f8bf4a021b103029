"""Everything a run is told, as frozen dataclasses: the schema of `configs/train.yaml`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from robopolicy.core.build import fill
from robopolicy.core.errors import ConfigError
from robopolicy.core.machine import check_device
from robopolicy.core.ranges import in_range
from robopolicy.train.optim import AdamW

# Arguments of policies: those that say nothing where no images are seen, and those that may be a folder
IMAGE_ARGUMENTS = ("vision", "vision_frozen", "image_dim", "patch")
FOLDER_ARGUMENTS = ("vision", "text")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of a run.

    Args:
        name: shown in the log; in a run's settings its number, where none is given.
        updates: how many; None means the run's `steps`.
        data: dataset; None means the run's `data`.
    """

    name: str
    updates: int | None = None
    data: str | None = None

    def __post_init__(self) -> None:
        in_range(f"phase '{self.name}'", least=1, updates=self.updates)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Everything a run is told. Unknown keys are refused.

    Args:
        policy: node that builds the learner.
        data: dataset folder.
        task: `suite/task` that the data are of; kept for evaluation, training itself does not need it.
        observe, elements: what of the data the learner sees, see `Spec.observe`. From velocities it may
            learn to go on as it goes, whatever it sees (de Haan et al. 2019, arXiv:1905.11979).
        steps: updates of a phase that does not say its own number.
        phases: run one after the other.
        batch_size: rows of one update.
        image_shift: pixels by which frames are moved at most in training, see `data.transforms.RandomShift`.
        microbatches: equal parts in which a batch is computed, to save memory.
        seed: of everything random.
        start_from: checkpoint (or run) whose weights the learner begins with, normalisers included; of the
            same spec and shapes. Nothing of its optimiser is taken.
        optim: `AdamW`'s settings for every group, and `groups: {name: {...}}` for some.
        precision, compile: see `Trainer`.
        device: `cpu` or `cuda`.
        validation: share of the episodes held out for the validation loss.
        log_every, validate_every, checkpoint_every: in steps.
        keep: checkpoints that stay.
        output: folder of the run, where the command line says it.
    """

    policy: Mapping[str, Any]
    data: str
    task: str | None = None
    observe: str = "state"
    elements: Sequence[str] | None = None
    steps: int = 20_000
    phases: Sequence[Mapping[str, Any]] = ({"name": "offline"},)
    batch_size: int = 256
    image_shift: int = 0
    microbatches: int = 1
    seed: int = 0
    start_from: str | None = None
    optim: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "fp32"
    compile: bool = False
    device: str = "cpu"
    validation: float = 0.05
    log_every: int = 100
    validate_every: int = 1_000
    checkpoint_every: int = 2_000
    keep: int = 2
    output: str | None = None

    def __post_init__(self) -> None:
        in_range(least=1, steps=self.steps, batch_size=self.batch_size, microbatches=self.microbatches)
        in_range(least=1, log_every=self.log_every, validate_every=self.validate_every)
        in_range(least=1, checkpoint_every=self.checkpoint_every, keep=self.keep)
        in_range(least=0, image_shift=self.image_shift)
        in_range(least=0, below=2**63, seed=self.seed)  # what torch takes
        in_range(least=0, below=1, validation=self.validation)
        if self.batch_size % self.microbatches:
            raise ConfigError(f"microbatches {self.microbatches} must divide batch_size {self.batch_size}")
        if not self.phases:
            raise ConfigError("phases is empty; a run needs at least one, for example [{name: offline}]")
        if self.observe == "state":
            about_images = {"image_shift": self.image_shift or None}
            about_images |= {f"policy.{name}": self.policy.get(name) for name in IMAGE_ARGUMENTS}
            for name, value in about_images.items():
                if value is not None:
                    raise ConfigError(
                        f"{name} is {value!r}, but observe=state shows no images; "
                        "delete it, or add observe=pixels"
                    )
        for name in FOLDER_ARGUMENTS:  # a checkpoint finds them from wherever it is loaded
            if isinstance(given := self.policy.get(name), str) and "/" in given:
                folder = str(Path(given).expanduser().absolute())
                object.__setattr__(self, "policy", {**self.policy, name: folder})
        check_device(self.device)
        self.optimizers(list(self._by_group) or ["every group"])
        assert self.timeline  # every phase is what a phase can be

    @property
    def timeline(self) -> list[tuple[int, Phase]]:
        """Each phase with the step at which it ends."""
        phases = [fill(Phase, {"name": str(i), **phase}) for i, phase in enumerate(self.phases, start=1)]
        ends = itertools.accumulate(self.steps if p.updates is None else p.updates for p in phases)
        return list(zip(ends, phases, strict=True))

    def optimizers(self, groups: Sequence[str]) -> dict[str, AdamW]:
        """The settings of every group."""
        common = {key: value for key, value in self.optim.items() if key != "groups"}
        special = self._by_group
        if unknown := special.keys() - set(groups):
            raise ConfigError(f"optim.groups names {sorted(unknown)}; this learner has {sorted(groups)}")
        return {group: fill(AdamW, {**common, **special.get(group, {})}) for group in groups}

    @property
    def _by_group(self) -> Mapping[str, Mapping[str, Any]]:
        """`optim.groups`: what differs in some groups."""
        groups = self.optim.get("groups") or {}
        if not isinstance(groups, Mapping):
            raise ConfigError(f"optim.groups is {groups!r}; {{group: {{lr: 1e-3}}}} is meant")
        for name, own in groups.items():
            if not isinstance(own, Mapping):
                raise ConfigError(f"optim.groups.{name} is {own!r}; its settings, as {{lr: 1e-3}}, are meant")
        return groups

    @property
    def binding(self) -> dict[str, Any]:
        """What a resumed run must share with the run that it goes on with, as plain values."""
        free = ("output", "device", "log_every", "validate_every", "checkpoint_every", "keep")
        return {key: value for key, value in asdict(self).items() if key not in free}
