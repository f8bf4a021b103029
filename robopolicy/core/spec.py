"""What a policy sees and commands: names, bounds, units, image sizes, control rate and the meaning of an
action.

Every dataset, checkpoint, environment, server and robot carries one `Spec`. Two of them are compared before
anything is trained or moved, and a mismatch names the field. This module needs numpy only, so that a small
computer beside an arm can use it.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from robopolicy.core.errors import ConfigError, SpecMismatchError, UnknownNameError


@dataclass(frozen=True, kw_only=True)
class Vector:
    """A flat vector of named scalars.

    Args:
        names: one per element, for example `shoulder_pan.pos`; unique.
        low, high: bounds per element in `units`; infinite where unbounded.
        units: one per element, for example `rad`, `m`, `1` (dimensionless).
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    units: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("names", "low", "high", "units"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        sizes = {name: len(getattr(self, name)) for name in ("names", "low", "high", "units")}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"a Vector needs as many bounds and units as names, got {sizes}")
        if strange := [name for name in (*self.names, *self.units) if not isinstance(name, str)]:
            raise ValueError(f"a Vector's names and units are text; these are not: {strange}")
        if len(set(self.names)) != len(self.names):
            repeated = sorted({name for name in self.names if self.names.count(name) > 1})
            raise ValueError(f"a Vector's names must be unique; repeated: {repeated}")
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if not low <= high:
                raise ValueError(f"bounds of '{name}' are empty or not numbers: low {low}, high {high}")

    def __len__(self) -> int:
        return len(self.names)

    @staticmethod
    def of(entries: dict[str, tuple[float, float, str]]) -> Vector:
        """Build from `{name: (low, high, unit)}`."""
        columns = list(zip(*entries.values(), strict=True)) or [(), (), ()]
        return Vector(names=tuple(entries), low=columns[0], high=columns[1], units=columns[2])

    def indices(self, names: tuple[str, ...]) -> np.ndarray:
        """Positions of `names` in this vector, int64; `SpecMismatchError` names what is missing."""
        missing = [name for name in names if name not in self.names]
        if missing:
            raise SpecMismatchError(f"missing {missing}; this vector has {list(self.names)}")
        return np.array([self.names.index(name) for name in names], dtype=np.int64)

    def select(self, names: tuple[str, ...]) -> Vector:
        """The sub-vector with these names, in this order."""
        at = self.indices(names)
        return Vector(
            names=names,
            low=tuple(self.low[i] for i in at),
            high=tuple(self.high[i] for i in at),
            units=tuple(self.units[i] for i in at),
        )

    def clip(self, values: np.ndarray) -> np.ndarray:
        """`values [..., len]` clipped to the bounds. NaN stays NaN: clipping is not a safety check."""
        return np.clip(values, np.asarray(self.low, values.dtype), np.asarray(self.high, values.dtype))


@dataclass(frozen=True, kw_only=True)
class Image:
    """One camera: height and width in pixels, colour channels."""

    height: int
    width: int
    channels: int = 3

    def __post_init__(self) -> None:
        if not all(type(size) is int and 0 < size <= 1 << 20 for size in self.shape):
            raise ValueError(f"an image of {self.shape} (channels, height, width) cannot be")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, h, w), the order in which frames travel."""
        return (self.channels, self.height, self.width)


_SEMANTICS = {
    "mode": ("absolute", "delta", "relative"),
    "frame": ("joint", "base", "tool"),
    "rotation": ("none", "pitch_roll", "euler_xyz", "axis_angle", "quat_wxyz", "rot6d"),
    "gripper": ("none", "position_rad", "open_fraction", "closing_effort"),
}


@dataclass(frozen=True, kw_only=True)
class ActionSemantics:
    """What the numbers of an action mean. Two robots may share a shape and still not share this.

    Args:
        mode: `absolute` targets, `delta` from the previous step, or `relative` to the state at the chunk's
            start.
        frame: `joint` space, the robot's `base` frame, or the `tool` frame.
        rotation: `none`, `pitch_roll`, `euler_xyz`, `axis_angle`, `quat_wxyz` or `rot6d`.
        gripper: `none`, `position_rad` (larger is wider), `open_fraction` (0 closed, 1 open) or
            `closing_effort` (-1 opens with all force, 1 closes with all force).
    """

    mode: str = "absolute"
    frame: str = "joint"
    rotation: str = "none"
    gripper: str = "none"

    def __post_init__(self) -> None:
        for name, allowed in _SEMANTICS.items():
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"action semantics: {name} is '{value}'; one of {list(allowed)} is meant")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The contract between data, policy and body.

    Args:
        state: proprioception and, where the body knows them, the poses of things (names that begin with
            `env.`).
        action: the commanded vector.
        semantics: what the action's numbers mean.
        control_hz: control steps a second.
        images: camera name to size.
        text: whether observations carry a language instruction.
    """

    state: Vector
    action: Vector
    control_hz: float
    semantics: ActionSemantics = field(default_factory=ActionSemantics)
    images: dict[str, Image] = field(default_factory=dict)
    text: bool = False

    def __post_init__(self) -> None:
        if not self.control_hz > 0:
            raise ValueError(f"control_hz must be positive, got {self.control_hz}")

    @property
    def dt(self) -> float:
        """Seconds between control steps."""
        return 1.0 / self.control_hz

    def observe(self, what: str, elements: Sequence[str] | None = None) -> Spec:
        """The part of this spec that a policy of a kind may see.

        `state` keeps the whole state vector and drops images; `pixels` keeps images and drops every `env.`
        element (a camera policy must not be told where things are); `all` keeps both. Of the state that is
        kept, `elements` are the names to see, or patterns of them such as `*.pos`; None sees them all.
        """
        if elements is not None:
            return self.observe(what)._only(elements)
        robot = tuple(name for name in self.state.names if not name.startswith("env."))
        if what == "all":
            return self
        if what == "state":
            return replace(self, images={})
        if what == "pixels":
            if not self.images:
                raise SpecMismatchError(
                    "observe=pixels needs cameras, and this spec has none; record with images"
                )
            return replace(self, state=self.state.select(robot))
        raise ConfigError(f"observe is '{what}'; one of ['state', 'pixels', 'all'] is meant")

    def _only(self, elements: Sequence[str]) -> Spec:
        if isinstance(elements, str) or not elements:
            raise ConfigError(f"elements is {elements!r}; a list of names or patterns is meant, as ['*.pos']")
        names, seen = self.state.names, set[str]()
        for element in elements:
            found = [name for name in names if fnmatch.fnmatchcase(name, element)]
            if not found:
                raise UnknownNameError("element of the state", element, list(names))
            seen.update(found)
        return replace(self, state=self.state.select(tuple(name for name in names if name in seen)))

    def require(self, offered: Spec, *, wanted_by: str, offered_by: str) -> None:
        """Refuse unless `offered` has all that this spec names, with the same meaning.

        The offer may hold more state elements and cameras; actions, semantics and the control rate must be
        equal.

        Raises:
            SpecMismatchError: names the field, both values and both parties.
        """

        def refuse(name: str, want: object, have: object, fix: str) -> None:
            raise SpecMismatchError(f"{name}: {wanted_by} has {want}, {offered_by} has {have}; {fix}")

        if self.action.names != offered.action.names:
            refuse(
                "action.names",
                list(self.action.names),
                list(offered.action.names),
                "use the same action space",
            )
        for name in ("mode", "frame", "rotation", "gripper"):
            want, have = getattr(self.semantics, name), getattr(offered.semantics, name)
            if want != have:
                refuse(
                    f"action semantics '{name}'",
                    f"'{want}'",
                    f"'{have}'",
                    "convert the data or change the env",
                )
        if self.action.units != offered.action.units:
            refuse("action.units", list(self.action.units), list(offered.action.units), "convert the units")
        if abs(self.control_hz - offered.control_hz) > 1e-6:
            refuse("control_hz", self.control_hz, offered.control_hz, "resample the data or retrain")
        missing = [name for name in self.state.names if name not in offered.state.names]
        if missing:
            refuse("state.names", missing, "none of these", "observe the same quantities")
        at = offered.state.indices(self.state.names)
        for name, unit, i in zip(self.state.names, self.state.units, at, strict=True):
            if unit != offered.state.units[i]:
                refuse(
                    f"unit of state '{name}'", f"'{unit}'", f"'{offered.state.units[i]}'", "convert the units"
                )
        for name, image in self.images.items():
            if name not in offered.images:
                refuse(
                    f"camera '{name}'",
                    image.shape,
                    f"cameras {sorted(offered.images)}",
                    "rename or add the camera",
                )
            if image.shape != offered.images[name].shape:
                refuse(
                    f"camera '{name}'", image.shape, offered.images[name].shape, "resize the camera's images"
                )
        if self.text and not offered.text:
            refuse("text", True, False, "give an instruction with each observation")

    def to_json(self) -> str:
        """Plain JSON; infinite bounds are written as null."""
        return json.dumps(_no_infinities(asdict(self)), indent=1)

    @staticmethod
    def from_json(text: str) -> Spec:
        """Inverse of `to_json`. Raises ValueError that names the key when one is missing or unknown."""
        raw = json.loads(text)
        try:
            return Spec(
                state=_vector(raw["state"]),
                action=_vector(raw["action"]),
                control_hz=float(raw["control_hz"]),
                semantics=ActionSemantics(**raw["semantics"]),
                images={name: Image(**image) for name, image in raw["images"].items()},
                text=bool(raw["text"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is not a spec: {error!r}") from error


def _no_infinities(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _no_infinities(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_no_infinities(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _vector(raw: dict[str, Any]) -> Vector:
    return Vector(
        names=tuple(raw["names"]),
        low=tuple(-np.inf if x is None else float(x) for x in raw["low"]),
        high=tuple(np.inf if x is None else float(x) for x in raw["high"]),
        units=tuple(raw["units"]),
    )
