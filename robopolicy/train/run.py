"""A training run: data, learner, trainer, checkpoints, curves; started, stopped and gone on with.

`train(config, out)` is all of it. The run is a list of phases, each so many updates on one dataset. Its
folder holds `checkpoints/` (see `core.checkpoint`), `log.jsonl` and `tensorboard/`; called again on the same
folder it goes on from the newest complete checkpoint, on a CPU to the same bits as if it had never stopped.
SIGTERM and SIGINT write a checkpoint first; a second signal ends the process at once.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from robopolicy.core.build import build, fill
from robopolicy.core.checkpoint import Checkpoint, Checkpoints, TrainState, open_checkpoint
from robopolicy.core.errors import CheckpointError, ConfigError, DatasetError, SpecMismatchError
from robopolicy.core.learner import Learner
from robopolicy.core.machine import Lock
from robopolicy.core.normalize import Normalizer
from robopolicy.core.spec import Spec
from robopolicy.core.threads import keep_freed_memory, use_threads
from robopolicy.data import origin
from robopolicy.data.lerobot import open_dataset
from robopolicy.data.sampler import Sampler
from robopolicy.data.store import Store
from robopolicy.data.transforms import RandomShift
from robopolicy.train.log import Means, Report, RunLog
from robopolicy.train.settings import Phase, RunSettings
from robopolicy.train.trainer import DivergedError, Trainer, to_tensors, validate

VALIDATION_BATCHES = 8


def train(
    config: Mapping[str, Any], out: Path | str, *, report: Report | None = None, again: str | None = None
) -> Path:
    """Train a learner, or go on with a run that was stopped.

    Args:
        config: plain; the keys are those of `RunSettings`.
        out: the run's folder.
        report: told how far the run is; None draws a progress bar.
        again: how whoever stops it goes on; None: by training again with the same folder.

    Returns:
        The last checkpoint's folder, `out/checkpoints/last`.

    Raises:
        UserError: a mistake in the config or the data, a full disk, a run that diverged.
        SystemExit: 128 + the signal's number, after a checkpoint; not when the last step was done.
    """
    settings = fill(RunSettings, config)
    use_threads()
    keep_freed_memory()
    out = Path(out)
    with Lock(out, doing="training", kind="run"), _listening() as stop:
        run = _Run(settings, out)
        run.go(stop, report)
    if stop.signal is not None and run.trainer.count < run.total:
        step = f"{run.trainer.count} of {run.total}"
        again = again or f"train again with output={out}"
        print(f"stopped at step {step}; {again} to go on", file=sys.stderr)
        raise SystemExit(128 + stop.signal)
    return run.checkpoints.last


class _Run:
    """A run's parts, as its newest checkpoint left them."""

    def __init__(self, settings: RunSettings, out: Path) -> None:
        self.settings, self.out = settings, out
        self.timeline = settings.timeline
        self.total = self.timeline[-1][0]
        self.checkpoints = Checkpoints(out / "checkpoints", keep=settings.keep)
        self.sizes: dict[str, list[int]] = {}  # episodes and steps of each dataset that was used
        found = self.checkpoints.recover()
        state = TrainState(values={"step": 0, "data": {}})
        if found is not None:
            _refuse_other_settings(settings, found, out)
            state = found.train_state()
        self.saved = int(state.values["step"])
        self.phase = self._phase(self.saved)
        self.data, self.held_out = self._load()
        if found is not None and (was := state.values["data"].get(self._source)) not in (None, self._size):
            raise CheckpointError(
                f"{out} was trained on {self._source} when it had {was} episodes and steps; now it has "
                f"{self._size}. Use another output folder, or the data as they were"
            )
        self.spec = self.data.spec
        self.learner = self._build()
        if found is None:
            self._begin()
        else:
            found.restore(self.learner)
        self.learner.to(settings.device)
        self.trainer = Trainer(
            learner=self.learner,
            optim=settings.optimizers(list(self.learner.groups())),
            total=self.total,
            seed=settings.seed,
            microbatches=settings.microbatches,
            precision=settings.precision,
            compile=settings.compile,
        )
        if found is not None:
            self.trainer.load_state(state.tensors, count=self.saved)
        self.sampler = self._sampler(self.data)

    def go(self, stop: _Stop, report: Report | None) -> None:
        """Train to the end, or until a signal; either way the last thing done is a checkpoint."""
        trainer, settings, means = self.trainer, self.settings, Means()
        log = RunLog(out=self.out, step=trainer.count, total=self.total, report=report)
        with log:
            clock, since = time.monotonic(), trainer.count
            while trainer.count < self.total and stop.signal is None:
                self._enter(self._phase(trainer.count))
                batch = to_tensors(self.sampler.batch(trainer.count), trainer.device)
                try:
                    means.add(trainer.step(batch))
                    step, ends = trainer.count, trainer.count == self.total
                    if step % settings.log_every == 0 or ends:
                        said = {"skipped": float(trainer.check()), **trainer.rates(), **means.take()}
                        now = time.monotonic()
                        said["steps_per_s"] = (step - since) / (now - clock)
                        clock, since = now, step
                        log.write(step, said, phase=self.phase.name)
                except DivergedError as error:
                    raise DivergedError(f"{error}. {self._last_good()}") from error
                if self.held_out is not None and (step % settings.validate_every == 0 or ends):
                    log.write(step, self._validate(self.held_out), phase=self.phase.name)
                if step % settings.checkpoint_every == 0:
                    self._save()
                log.advance(step)
            self._save()

    def _begin(self) -> None:
        """Fit the normalisers; weights to start from bring those that they were trained with."""
        stats = self.data.stats()
        for part, found in stats.items():
            if not np.isfinite(found["mean"]).all():
                raise DatasetError(
                    f"{self._source}: the {part} is not finite somewhere; `robopolicy data check "
                    f"{self._source}` says where, and with --quarantine sets those episodes aside"
                )
        for module in self.learner.modules():
            if isinstance(module, Normalizer):
                module.fit(stats)
        if self.settings.start_from is not None:
            start = open_checkpoint(self.settings.start_from)
            _require_equal(start.spec, self.spec, str(start.path), self._source)
            start.restore(self.learner)

    def _phase(self, step: int) -> Phase:
        return next((phase for end, phase in self.timeline if step < end), self.timeline[-1][1])

    def _enter(self, phase: Phase) -> None:
        """Go on with the data of `phase`, if they are others."""
        before, self.phase = self._source, phase
        if self._source == before:
            return
        self.data, self.held_out = self._load()
        _require_equal(self.spec, self.data.spec, before, self._source)
        self.sampler = self._sampler(self.data)

    @property
    def _source(self) -> str:
        return self.phase.data or self.settings.data

    @property
    def _size(self) -> list[int]:
        return self.sizes[self._source]

    def _load(self) -> tuple[Store, Store | None]:
        """The phase's episodes: to learn from, and held out."""
        dataset = open_dataset(self._source)
        if self.settings.task is not None:
            origin.require_task(dataset.origins, self.settings.task, name=self._source)
        count, share = dataset.num_episodes, self.settings.validation
        self.sizes[self._source] = [count, dataset.num_frames]
        random = np.random.default_rng([self.settings.seed, count])
        order = random.permutation(count).tolist()
        held = min(max(1, round(share * count)), count - 1) if share > 0 else 0
        # Whole, so that frames come from its cache.
        store = dataset.load(observe=self.settings.observe, elements=self.settings.elements)
        return store.choose(order[held:]), store.choose(order[:held]) if held > 0 else None

    def _build(self) -> Learner:
        if self.settings.policy.get("text") is not None and not self.spec.text:
            raise ConfigError(
                f"policy.text is {self.settings.policy['text']!r}, but {self._source} holds no instructions; "
                "delete it"
            )
        torch.manual_seed(self.settings.seed)
        learner = build(self.settings.policy, spec=self.spec)
        if not isinstance(learner, Learner):
            raise ConfigError(
                f"policy builds a {type(learner).__name__}, which does not learn; name a learner"
            )
        return learner

    def _sampler(self, data: Store) -> Sampler:
        settings = self.settings
        shift = [RandomShift(pixels=settings.image_shift)] if settings.image_shift and data.images else []
        return Sampler(
            store=data,
            windows=self.learner.windows,
            batch_size=settings.batch_size,
            seed=settings.seed,
            transforms=shift,
        )

    def _validate(self, data: Store) -> dict[str, float]:
        sampler = Sampler(
            store=data,
            windows=self.learner.windows,
            batch_size=self.settings.batch_size,
            seed=self.settings.seed + 1,
        )
        batches = (to_tensors(sampler.batch(i), self.trainer.device) for i in range(VALIDATION_BATCHES))
        losses = validate(self.learner, batches, seed=self.settings.seed + 1)
        return {f"validation/{name}": value for name, value in losses.items()}

    def _save(self) -> None:
        step = self.trainer.count
        if step == self.saved:
            return
        self.trainer.check()
        for name, tensor in self.learner.state_dict().items():  # averaged weights and normalisers too
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise DivergedError(
                    f"{name} is not finite at step {step}; lower optim.lr. {self._last_good()}"
                )
        self.checkpoints.save(
            step,
            learner=self.learner,
            config=self.settings.policy,
            spec=self.spec,
            run=self.settings.binding,
            train_state=TrainState(tensors=self.trainer.state(), values={"step": step, "data": self.sizes}),
        )
        self.saved = step

    def _last_good(self) -> str:
        return (
            f"The last good checkpoint is {self.checkpoints.last}" if self.saved else "No checkpoint was made"
        )


class _Stop:
    """The signal that asked the run to end, if one did."""

    signal: int | None = None


@contextmanager
def _listening() -> Iterator[_Stop]:
    """Note the first SIGTERM or SIGINT; the second has its usual effect."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may listen
        yield stop
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, _: FrameType | None) -> None:
        stop.signal = number
        for each in kept:
            signal.signal(each, signal.SIG_DFL)

    for number in kept:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _require_equal(wanted: Spec, offered: Spec, wanted_by: str, offered_by: str) -> None:
    if wanted != offered:
        wanted.require(offered, wanted_by=wanted_by, offered_by=offered_by)
        raise SpecMismatchError(
            f"{offered_by} shows more than {wanted_by}, or has other bounds; the specs must be equal"
        )


def _refuse_other_settings(settings: RunSettings, found: Checkpoint, out: Path) -> None:
    """A run that goes on must be told what it was told before."""
    before, now = found.provenance.get("run") or {}, json.loads(json.dumps(settings.binding))
    for key in now.keys() | before.keys():
        if before.get(key) != now.get(key):
            raise ConfigError(
                f"{out} holds a run with another '{key}': {before.get(key)!r} there, {now.get(key)!r} here; "
                f"choose another output folder, or ask for the same"
            )
