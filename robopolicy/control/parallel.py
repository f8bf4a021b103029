"""Environments in worker processes, for policies that sit on a GPU in this one.

States, images and actions travel through shared memory; only what is small (reward, flags, instruction, info)
goes through pipes. Each worker owns a slice of the rows and steps them while the others step theirs. Nothing
resets itself: a row whose episode is over is left alone until the next `reset`.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robopolicy.control.loop import EnvGroup
from robopolicy.control.workers import end_with_parent, receive
from robopolicy.core.errors import UserError
from robopolicy.core.protocols import Env
from robopolicy.core.spec import Spec
from robopolicy.core.types import Observation, Step


@dataclass(frozen=True)
class _Board:
    """Shared arrays of all rows: `state [B S]`, `action`, `applied [B A]`, `images {name: [B C h w]}`."""

    spec: Spec
    rows: int
    memory: dict[str, Any]  # raw shared arrays by name; they travel to a worker when it is started

    @staticmethod
    def make(context: Any, spec: Spec, rows: int) -> _Board:
        floats = {"state": len(spec.state), "action": len(spec.action), "applied": len(spec.action)}
        memory = {name: context.RawArray("f", rows * size) for name, size in floats.items()}
        for name, image in spec.images.items():
            memory[f"image.{name}"] = context.RawArray("B", rows * int(np.prod(image.shape)))
        return _Board(spec, rows, memory)

    def array(self, name: str) -> np.ndarray:
        """A view of one of the float arrays, `[B size]`."""
        return np.frombuffer(self.memory[name], np.float32).reshape(self.rows, -1)

    def image(self, name: str) -> np.ndarray:
        """A view of a camera's frames, `[B C h w]`."""
        shape = (self.rows, *self.spec.images[name].shape)
        return np.frombuffer(self.memory[f"image.{name}"], np.uint8).reshape(shape)


class WorkerEnvs(EnvGroup):
    """B environments over several processes.

    Args:
        make_env: picklable; called in the workers, and once here to learn the spec.
        rows: B.
        workers: processes.

    Raises:
        UserError: as raised by `make_env` or by an environment.
        WorkerKilledError: a signal ended a worker.
        WorkerError: a worker failed in another way.
    """

    def __init__(self, make_env: Callable[[], Env], *, rows: int, workers: int) -> None:
        env = make_env()
        self.spec = env.spec
        env.close()
        context = multiprocessing.get_context("spawn")
        self._board = _Board.make(context, self.spec, rows)
        self._owner: list[int] = []
        self._pipes, self._processes = [], []
        for index, slice_ in enumerate(np.array_split(np.arange(rows), min(workers, rows))):
            ours, theirs = context.Pipe()
            arguments = (make_env, self._board, slice_.tolist(), theirs)
            process = context.Process(target=_serve, args=arguments, name=f"envs-{index}", daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
            self._owner += [index] * len(slice_)

    def __len__(self) -> int:
        return self._board.rows

    def reset(self, seeds: Sequence[int]) -> list[Step]:
        """Begin an episode in each of the first rows."""
        return self._ask(list(range(len(seeds))), [int(seed) for seed in seeds])

    def step(self, actions: np.ndarray, rows: Sequence[int]) -> list[Step]:
        """Command each of `rows`; they are stepped in parallel."""
        self._board.array("action")[: len(actions)] = actions
        return self._ask(list(rows), None)

    def close(self) -> None:
        """End the workers; a second call does nothing."""
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.close()
            process.join(timeout=5)
            process.terminate()
            process.join()
        self._pipes, self._processes = [], []

    def _ask(self, rows: list[int], seeds: list[int] | None) -> list[Step]:
        """Reset (with seeds) or step these rows."""
        shares: dict[int, list[int]] = {}
        for row in rows:
            shares.setdefault(self._owner[row], []).append(row)
        said: dict[int, Step] = {}
        for owner, share in shares.items():
            with suppress(OSError):  # found dead; what it has to say is read below
                self._pipes[owner].send((share, None if seeds is None else [seeds[row] for row in share]))
        for owner, share in shares.items():
            said.update(zip(share, receive(self._processes[owner], self._pipes[owner]), strict=True))
        return [self._complete(row, said[row]) for row in rows]

    def _complete(self, row: int, step: Step) -> Step:
        """The step as the environment made it: with its arrays, copied out of shared memory."""
        board = self._board
        obs = Observation(
            state=board.array("state")[row].copy(),
            images={name: board.image(name)[row].copy() for name in self.spec.images},
            text=step.obs.text,
        )
        if step.applied is None:
            return replace(step, obs=obs)
        proposed, applied = board.array("action")[row].copy(), board.array("applied")[row].copy()
        return replace(step, obs=obs, proposed=proposed, applied=applied)


def _serve(make_env: Callable[[], Env], board: _Board, rows: list[int], pipe: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair, which then ends its workers
    end_with_parent()
    envs: dict[int, Env] = {}
    try:
        envs.update((row, make_env()) for row in rows)
        while True:
            asked, seeds = pipe.recv()
            if seeds is None:
                steps = [envs[row].step(board.array("action")[row].copy()) for row in asked]
            else:
                steps = [envs[row].reset(seed) for row, seed in zip(asked, seeds, strict=True)]
            pipe.send(("steps", [_share(board, row, step) for row, step in zip(asked, steps, strict=True)]))
    except (EOFError, BrokenPipeError):
        return  # the parent is done, or gone
    except UserError as error:
        pipe.send(("mistake", str(error)))
    except Exception:
        pipe.send(("failure", traceback.format_exc()))
    finally:
        for env in envs.values():
            env.close()


def _share(board: _Board, row: int, step: Step) -> Step:
    """Put a step's arrays into shared memory; what is left of it is small."""
    board.array("state")[row] = step.obs.state
    for name in board.spec.images:
        board.image(name)[row] = step.obs.images[name]
    if step.applied is not None:
        board.array("applied")[row] = step.applied
    nothing = np.empty(0, np.float32)
    applied = None if step.applied is None else nothing
    return replace(
        step, obs=Observation(state=nothing, text=step.obs.text), proposed=applied, applied=applied
    )
