"""Turns a policy's chunks into actions, one per tick: open loop.

The first `execute` actions of a chunk are executed, then the policy is asked again. While nothing has arrived
the body holds still, and each tick without an action of the policy is counted as an underrun.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from robopolicy.control.clock import SimClock
from robopolicy.core.errors import ConfigError
from robopolicy.core.noise import EpisodeNoise
from robopolicy.core.protocols import ChunkPolicy
from robopolicy.core.spec import Spec
from robopolicy.core.types import Observation, Step


@dataclass
class _Row:
    seed: int
    episode: int
    tick: int = 0
    history: deque[Observation] = field(default_factory=deque)
    actions: deque[np.ndarray] = field(default_factory=deque)
    last: np.ndarray | None = None
    waiting: bool = False
    underruns: int = 0


@dataclass(frozen=True)
class _Arrival:
    row: int
    episode: int
    actions: np.ndarray


class Executor:
    """An agent for B rows that executes a policy's chunks.

    All rows that need a chunk share one call of `policy.sample`. The call always holds every row, whoever
    needs it, and its noise is keyed by (episode seed, tick): what a row does depends neither on which other
    rows ask nor on when they are done.

    Args:
        policy: sees the state elements and cameras that its own spec names, picked out of the environment's.
        env_spec: of the environments that will be acted in.
        execute: actions of each chunk to execute before asking again; by default half of them, so that what
            was seen is never older than half a chunk.
        latency_ticks: ticks between a request and its chunk, fewer than the chunk spans: the body holds still
            while it waits, but a chunk that answers what was seen before its own span is no answer to now.
        device: where the policy's weights are.
        batch: pad the batch to this many rows, so that a small group computes as a full one does.

    Raises:
        SpecMismatchError: the environment does not offer what the policy needs.
        ConfigError: `execute` or `latency_ticks` is not within the chunk, or there is no way to hold still
            while a chunk is on its way.
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        *,
        env_spec: Spec,
        execute: int | None = None,
        latency_ticks: int = 0,
        device: str = "cpu",
        batch: int | None = None,
    ) -> None:
        policy.spec.require(env_spec, wanted_by="the policy", offered_by="the environment")
        execute = (policy.horizon + 1) // 2 if execute is None else execute
        if not 1 <= execute <= policy.horizon:
            raise ConfigError(
                f"execute is {execute}, but the policy's chunks hold {policy.horizon} actions; "
                f"choose 1 to {policy.horizon}"
            )
        if not 0 <= latency_ticks < policy.horizon:
            raise ConfigError(
                f"latency_ticks is {latency_ticks}, but the policy's chunks hold {policy.horizon} actions: "
                "when one arrives, the time of all its actions has passed; "
                f"choose 0 to {policy.horizon - 1}, or a policy with longer chunks"
            )
        self.policy, self.execute, self.device, self.batch = policy, execute, device, batch
        self._state = env_spec.state.indices(policy.spec.state.names)
        self._hold_from = _holding(env_spec) if latency_ticks else None
        self._action_size = len(env_spec.action)
        self._clock: SimClock[list[_Arrival]] = SimClock(latency_ticks=latency_ticks)
        self._rows: dict[int, _Row] = {}
        self._episodes = 0

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """Forget these rows; a chunk that is still on its way to them is dropped on arrival."""
        for row, seed in zip(rows, seeds, strict=True):
            self._episodes += 1
            self._rows[row] = _Row(seed=int(seed), episode=self._episodes)

    @property
    def underruns(self) -> list[int]:
        """Ticks without an action of the policy in the current episode of each row."""
        return [self._rows[row].underruns for row in sorted(self._rows)]

    def act(self, steps: Sequence[Step]) -> np.ndarray:
        """The action of each row, `[B A]` float32; rows whose episode is over repeat their last one."""
        for row, step in enumerate(steps):
            if not step.done:
                self._remember(self._rows[row], self.pick(step.obs))
        needy = [
            row
            for row, step in enumerate(steps)
            if not step.done and not self._rows[row].actions and not self._rows[row].waiting
        ]
        if needy:
            for row in needy:
                self._rows[row].waiting = True
            self._clock.submit(lambda: self._infer(needy, len(steps)))
        for arrival in (arrival for batch in self._clock.collect() for arrival in batch):
            state = self._rows[arrival.row]
            if state.episode == arrival.episode:
                state.actions.extend(arrival.actions)
                state.waiting = False
        actions = [self._next(self._rows[row], step) for row, step in enumerate(steps)]
        self._clock.advance()
        return np.stack(actions)

    def pick(self, obs: Observation) -> Observation:
        """What the policy looks at, out of what the environment shows."""
        return Observation(
            state=obs.state[self._state],
            images={name: obs.images[name] for name in self.policy.spec.images},
            text=obs.text if self.policy.spec.text else None,
        )

    def _remember(self, row: _Row, seen: Observation) -> None:
        if not row.history:  # the past of an episode's first step is that step
            row.history = deque([seen] * self.policy.obs_steps, maxlen=self.policy.obs_steps)
        else:
            row.history.append(seen)

    def _infer(self, needy: list[int], count: int) -> list[_Arrival]:
        rows = [self._rows[row] for row in range(count)]
        rows += rows[:1] * ((self.batch or 0) - count)
        noise = EpisodeNoise(
            seeds=[row.seed for row in rows], ticks=[row.tick for row in rows], device=self.device
        )
        chunks = self.policy.sample(
            batch_of([list(row.history) for row in rows], self.device), 1, noise=noise
        )
        chunks = torch.as_tensor(chunks)[:, 0, : self.execute].cpu().numpy().astype(np.float32)
        return [_Arrival(row, self._rows[row].episode, chunks[row]) for row in needy]

    def _next(self, row: _Row, step: Step) -> np.ndarray:
        if step.done:
            return np.zeros(self._action_size, np.float32) if row.last is None else row.last
        row.tick += 1
        if row.actions:
            row.last = row.actions.popleft()
            return row.last
        row.underruns += 1
        assert self._hold_from is not None  # without latency a chunk arrives within its tick
        row.last = self._hold_from(step.obs.state, row.last)
        return row.last


def batch_of(histories: Sequence[Sequence[Observation]], device: str) -> Observation:
    """Frames of B rows with T steps each to one batch of tensors: state `[B T S]`, images `[B T C h w]`."""

    def gather(pick: Callable[[Observation], np.ndarray]) -> torch.Tensor:
        frames = np.stack([np.stack([pick(obs) for obs in row]) for row in histories])
        return torch.from_numpy(frames).to(device)

    first = histories[0][-1]
    texts = [row[-1].text for row in histories]
    return Observation(
        state=gather(lambda obs: np.asarray(obs.state, np.float32)),
        images={name: gather(lambda obs, name=name: obs.images[name]) for name in first.images},
        text=None if first.text is None else tuple(text[0] for text in texts if text is not None),
    )


def _holding(spec: Spec) -> Callable[[np.ndarray, np.ndarray | None], np.ndarray]:
    """How to stay where one is: `(state [S], last action or None) -> action [A]`.

    An action relative to the state at its chunk's start says nothing of now, when that chunk is over: neither
    it again nor zero, which leads back to that start, would hold the body still.
    """
    if spec.semantics.mode == "relative":
        raise ConfigError(
            "latency_ticks needs a way to hold still, and actions relative to their chunk's start have none; "
            "use absolute or delta actions, or latency_ticks=0"
        )
    if spec.semantics.mode == "delta":
        zero = np.zeros(len(spec.action), np.float32)
        return lambda state, last: zero
    missing = [name for name in spec.action.names if name not in spec.state.names]
    if missing:
        raise ConfigError(
            f"latency_ticks needs a way to hold still, but the state lacks {missing} that are commanded; "
            "use an action space whose names the state holds, or latency_ticks=0"
        )
    at = spec.state.indices(spec.action.names)
    return lambda state, last: state[at].astype(np.float32) if last is None else last
