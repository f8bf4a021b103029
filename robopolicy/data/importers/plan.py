"""How the arrays of a file become a spec and episodes, the same way for every layout.

Arrays `[L h w 3]` are cameras, the others make the state; what has too many numbers for that (depth) is left
out and named. The elements of array `eef_pos` are called `eef_pos.0`, `eef_pos.1` ..., unless a task is
given whose names they take.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from robopolicy.core.errors import ConfigError, DatasetError, SpecMismatchError, UnknownNameError
from robopolicy.core.ranges import in_range
from robopolicy.core.spec import ActionSemantics, Image, Spec, Vector
from robopolicy.core.types import Episode
from robopolicy.data.importers.source import Source, Take
from robopolicy.data.store import MASK

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_MOST = 1024  # numbers a step of an array that is part of the state


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which arrays become what.

    Args:
        path: of the file, for messages.
        spec: of the episodes.
        vectors: array to its number of elements, of those that make the state, in order.
        order: where each element of the spec's state is among them.
        cameras: camera to array.
        text: the instruction of all episodes.
    """

    path: Path
    spec: Spec
    vectors: Mapping[str, int]
    order: np.ndarray
    cameras: Mapping[str, str]
    text: str

    @property
    def arrays(self) -> tuple[str, ...]:
        """All that has to be read."""
        return (*self.vectors, *self.cameras.values())

    def episode(self, take: Take) -> Episode:
        """An episode as the spec has it; whether it is finite is not looked at.

        Raises:
            DatasetError: arrays that are not as long as the actions or not as wide as in the first episode,
                or pictures of other levels than 0 to 255.
        """
        length, mask = len(take.action), take.mask
        arrays = {"rewards": take.reward, "dones": mask, **take.observation}
        lengths = {name: len(array) for name, array in arrays.items() if array is not None}
        if wrong := {name: rows for name, rows in lengths.items() if rows != length}:
            raise DatasetError(
                f"{self.path}: {take.name} has {length} actions, but other numbers of rows in {wrong}; get "
                "the file again, or mend it"
            )
        widths = {name: take.observation[name].size // max(length, 1) for name in self.vectors}
        if widths != self.vectors and length:
            raise DatasetError(
                f"{self.path}: {take.name} has arrays of {widths} elements, the first episode {self.vectors}"
                "; convert files of one robot and task"
            )
        parts = [take.observation[name].reshape(length, size) for name, size in self.vectors.items()]
        state = np.concatenate([np.empty((length, 0)), *parts], axis=1)[:, self.order]
        frames = {camera: self._frames(take, name) for camera, name in self.cameras.items()}
        return Episode(
            state=_float32(state),
            action=_float32(take.action),
            reward=_float32(np.zeros(length) if take.reward is None else take.reward),
            terminated=mask is not None and length > 0 and not mask[-1],
            success=take.success,
            text=self.text,
            images=frames,
            columns={} if mask is None else {MASK: mask},
        )

    def _frames(self, take: Take, name: str) -> np.ndarray:
        """`[L h w 3]` as `[L 3 h w]` uint8; Diffusion Policy also keeps levels from 0 to 255 as floats."""
        pictures = take.observation[name]
        with np.errstate(invalid="ignore"):
            frames = pictures.astype(np.uint8)
        if pictures.dtype != np.uint8 and (strange := pictures[frames != pictures]).size:
            raise DatasetError(
                f"{self.path}: {take.name}: a level of {name} is {strange[0]}; whole numbers from 0 to 255 "
                "are meant, write it as uint8"
            )
        return frames.transpose(0, 3, 1, 2)


def make_plan(
    path: Path,
    source: Source,
    *,
    control_hz: float | None,
    state: Sequence[str] | None,
    cameras: Sequence[str] | None,
    like: Spec | None,
    text: str,
) -> Plan:
    """Choose arrays and give their elements names.

    Args:
        path, source: the file.
        control_hz, state, cameras, text: what the user asked for, see `data.convert`.
        like: the spec whose names, bounds and units of state and action are taken.

    Raises:
        ConfigError: the control rate is not known, or contradicts the file's.
        UnknownNameError: an array or a camera that the file does not have.
        DatasetError: nothing that is observed is left.
        SpecMismatchError: the file does not fit `like`.
    """
    shapes = source.arrays
    pictures = _cameras([n for n, shape in shapes.items() if len(shape) == 3 and shape[2] == 3])
    sizes = {n: math.prod(shape) for n, shape in shapes.items() if n not in pictures.values()}
    known = {name: size for name, size in sizes.items() if size <= _MOST}
    vectors = _chosen(path, "array of the state", state, known)
    shown = _chosen(path, "camera", cameras, pictures)
    if state is None and (left := sorted(sizes.keys() - known.keys())):
        _log.warning("%s: left out, being no pictures and too large: %s", path, ", ".join(left))
    if not vectors and not shown:
        raise DatasetError(
            f"{path}: nothing is observed; choose state of {sorted(known)} or cameras of {sorted(pictures)}"
        )
    names = [f"{n}.{i}" if shapes[n] else n for n, size in vectors.items() for i in range(size)]
    spec = Spec(
        state=_unbounded(names),
        action=_unbounded([f"action.{i}" for i in range(source.action_size)]),
        control_hz=_rate(path, source, control_hz, like),
        semantics=source.semantics or ActionSemantics(),
        images={camera: Image(height=shapes[n][0], width=shapes[n][1]) for camera, n in shown.items()},
        text=bool(text),
    )
    order = np.arange(len(names))
    if like is not None:
        spec, order = _fitted(path, source, spec, like)
    return Plan(path=path, spec=spec, vectors=vectors, order=order, cameras=shown, text=text)


def _rate(path: Path, source: Source, asked: float | None, like: Spec | None) -> float:
    if asked and source.control_hz not in (None, asked):
        raise ConfigError(f"control_hz is {asked:g}, {path} says {source.control_hz:g}; leave control_hz out")
    rate = asked or source.control_hz or (like.control_hz if like else source.usual_hz)
    if rate is None:
        raise ConfigError(f"{path} does not say how many steps a second it has; add control_hz=...")
    in_range(str(path), above=0, most=10_000, control_hz=rate)
    return rate


def _fitted(path: Path, source: Source, own: Spec, like: Spec) -> tuple[Spec, np.ndarray]:
    """The spec of the file with the state and action of `like`, and where its elements are in the file."""

    def require(what: str, have: object, want: object) -> None:
        if have != want:
            raise SpecMismatchError(
                f"{path}: {what}: the file has {have}, the task has {want}; name the task that was recorded"
            )

    require("number of actions", len(own.action), len(like.action))
    require("control_hz", own.control_hz, like.control_hz)
    if source.semantics is not None:
        require("mode of the actions", source.semantics.mode, like.semantics.mode)
    if not len(own.state):  # pictures alone
        state, order = own.state, np.arange(0)
    elif source.in_order:
        require("elements of the state", len(own.state), len(like.state))
        state, order = like.state, np.arange(len(like.state))
    else:
        missing = [name for name in like.state.names if name not in own.state.names]
        require("elements of the state", f"no {missing[:6]}" if missing else "", "")
        state, order = like.state, own.state.indices(like.state.names)
    return replace(like, state=state, images=own.images, text=own.text), order


def _chosen(path: Path, kind: str, asked: Sequence[str] | None, known: Mapping[str, _T]) -> dict[str, _T]:
    for name in asked or ():
        if name not in known:
            raise UnknownNameError(kind, name, list(known), f" (of {path})")
    return {name: known[name] for name in (known if asked is None else asked)}


def _float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
        return values.astype(np.float32)


def _cameras(arrays: Sequence[str]) -> dict[str, str]:
    """Camera to array; they are called as their arrays are where short names would not tell them apart."""
    short = {name.removesuffix("_image").removesuffix("_rgb"): name for name in arrays}
    return short if len(short) == len(arrays) else {name: name for name in arrays}


def _unbounded(names: Sequence[str]) -> Vector:
    return Vector.of({name: (-np.inf, np.inf, "unknown") for name in names})
