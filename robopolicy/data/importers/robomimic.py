"""robomimic's HDF5 (Mandlekar et al. 2021, arXiv 2108.03298), as its `dataset_states_to_obs` writes it.

`data` has the attribute `env_args`, JSON that builds the environment again; `data/demo_N` holds `actions
[L A]`, `rewards [L]`, `dones [L]` and `obs/NAME [L ...]`, pictures `[L h w 3]` uint8. `next_obs` and `states`
are left aside. A step that is `done` is one that robomimic's own methods do not bootstrap beyond, be it a
success or the end of the demonstration. robosuite's rewards reach `reward_scale` where a task is solved, and
nowhere else, dense or sparse; of other environments the file does not tell.

A link or a dataset that leads out of the file is refused: it would copy what else is on this machine.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from robopolicy.core.errors import DatasetError
from robopolicy.core.spec import ActionSemantics
from robopolicy.data.importers.source import Source, Take, library, reading, require_numbers

NAME = "robomimic's .hdf5"
_ROBOSUITE = 1  # robomimic's number for this kind of environment
_WORLD = "object"  # robosuite's name for the poses of things, and how names of such things begin
# What the command of a controller is: frame and rotation.
_CONTROLLERS = {
    "OSC_POSE": ("base", "axis_angle"),
    "OSC_POSITION": ("base", "none"),
    "IK_POSE": ("base", "axis_angle"),
    "JOINT_POSITION": ("joint", "none"),
}


def recognises(path: Path) -> bool:
    """See `Importer.recognises`."""
    return path.suffix in (".hdf5", ".h5")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Source]:
    """See `Importer.opened`."""
    h5py = library("h5py", path)
    with reading(path):
        file = h5py.File(path, "r")
    with file:
        with reading(path):
            source = _File(h5py, path, file).source()
        yield source


class _File:
    """An open file, each part of it checked as it is reached."""

    def __init__(self, h5py: Any, path: Path, file: Any) -> None:
        self._h5py, self._path = h5py, path
        self._data = self._group(file, "data")
        self._env = self._env_args()
        kwargs = self._env.get("env_kwargs")
        self._kwargs: Mapping[str, Any] = kwargs if isinstance(kwargs, dict) else {}
        self._scale = self._kwargs.get("reward_scale", 1.0)  # what the reward is where a task is solved

    def source(self) -> Source:
        """What the importer gives."""
        demos = sorted(self._data, key=_number)
        if not demos:
            raise DatasetError(f"{self._path}: data holds no demonstrations; nothing can be imported")
        first = self._group(self._data, demos[0])
        obs = self._group(first, "obs")
        told = [name for name in ("rewards", "dones") if name in first]
        robots = self._kwargs.get("robots")
        hz = self._kwargs.get("control_freq")
        return Source(
            arrays={_spec_name(name): self._numbers(obs, name).shape[1:] for name in obs},
            action_size=self._numbers(first, "actions", axes=2).shape[1],
            takes=lambda names: (self._take(demo, names, told) for demo in demos),
            control_hz=None if hz is None else float(hz),
            semantics=_semantics(self._part()),
            tells_success="rewards" in told and self._tells_success(),
            robot_type="+".join(map(str, robots)) if isinstance(robots, list) else str(robots or "unknown"),
            origin={"env_args": self._env, **self._simulator()},
        )

    def _take(self, demo: str, names: Collection[str], told: Collection[str]) -> Take:
        """An episode with these arrays of observations, and `told` of rewards and dones."""
        group = self._group(self._data, demo)
        obs = self._group(group, "obs")
        with reading(self._path):
            rows = {name: self._numbers(group, name, axes=1)[:] for name in told}
            reward, done = rows.get("rewards"), rows.get("dones")
            return Take(
                name=demo,
                observation={name: self._numbers(obs, _file_name(name))[:] for name in names},
                action=self._numbers(group, "actions", axes=2)[:],
                reward=reward,
                mask=None if done is None else done == 0,
                success=reward is not None
                and self._tells_success()
                and bool((reward >= self._scale - 1e-6).any()),
            )

    def _tells_success(self) -> bool:
        return self._env.get("type") == _ROBOSUITE and isinstance(self._scale, int | float)

    def _env_args(self) -> dict[str, Any]:
        raw = self._data.attrs.get("env_args")
        if raw is None:
            raise DatasetError(
                f"{self._path}: data lacks the attribute env_args, which says what was recorded; robomimic's "
                "conversion/convert_robosuite.py writes it"
            )
        try:
            env = json.loads(raw)
            json.dumps(env, ensure_ascii=False).encode()  # so that it can be kept
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"its env_args are no JSON, {error}") from error
        if not isinstance(env, dict):
            raise ValueError(f"its env_args are {str(env)[:60]!r}, an object is meant")
        return env

    def _simulator(self) -> dict[str, Any]:
        """Package, version and task, where it is robosuite; without a version, the controllers tell its age.

        robosuite 1.5 made a controller of several, one a part of the body; up to 1.4 there was one an arm.
        """
        if self._env.get("type") != _ROBOSUITE:
            return {}
        old = "1.4 or older" if "type" in self._part() and "body_parts" not in self._controller() else None
        version = self._env.get("env_version") or old
        task = self._env.get("env_name")
        return {"simulator": "robosuite", "version": version and str(version), "task": task and str(task)}

    def _controller(self) -> Mapping[str, Any]:
        found = self._kwargs.get("controller_configs")
        found = found[0] if isinstance(found, list) and found else found
        return found if isinstance(found, dict) else {}

    def _part(self) -> Mapping[str, Any]:
        """The settings of the first arm's controller."""
        parts = self._controller().get("body_parts")
        part = next(iter(parts.values()), {}) if isinstance(parts, dict) else self._controller()
        return part if isinstance(part, dict) else {}

    def _group(self, parent: Any, name: str) -> Any:
        return self._inside(parent, name, self._h5py.Group, "group")

    def _numbers(self, parent: Any, name: str, *, axes: int = 0) -> Any:
        """A dataset of numbers that lie in this file; nothing of it is read yet."""
        found = self._inside(parent, name, self._h5py.Dataset, "dataset")
        title = f"{parent.name}/{name}".lstrip("/")
        if found.external or found.is_virtual:
            raise DatasetError(f"{self._path}: {title} lies in another file, which is not read; copy it in")
        require_numbers(self._path, title, found.dtype, found.shape or (), axes=axes)
        return found

    def _inside(self, parent: Any, name: str, kind: type, what: str) -> Any:
        title = f"{parent.name}/{name}".lstrip("/")
        with reading(self._path):
            link = parent.get(name, getlink=True)
            if link is not None and not isinstance(link, self._h5py.HardLink):
                raise DatasetError(
                    f"{self._path}: {title} is a link, which is not followed; copy what it names"
                )
            found = parent.get(name)
            if isinstance(found, kind):
                return found
            if link is not None:
                raise DatasetError(f"{self._path}: {title} is damaged or no {what}; get the file again")
            has = sorted(parent)[:12]
        hint = "; robomimic's dataset_states_to_obs.py writes it" if name == "obs" else ""
        raise DatasetError(
            f"{self._path} has no {what} '{title}', there is {has}{hint or f'; {NAME} has it'}"
        )


def _number(demo: str) -> tuple[int, str]:
    number = demo.rpartition("_")[2]
    return (int(number) if number.isdecimal() else 1 << 62), demo


def _spec_name(name: str) -> str:
    return f"env.{name}" if name.startswith(_WORLD) else name


def _file_name(name: str) -> str:
    return name.removeprefix("env.") if name.startswith(f"env.{_WORLD}") else name


def _semantics(part: Mapping[str, Any]) -> ActionSemantics | None:
    """What a controller's commands mean; None of one that is not known here."""
    if part.get("type") not in _CONTROLLERS:
        return None
    frame, rotation = _CONTROLLERS[part["type"]]
    delta = part.get("control_delta", part.get("input_type", "delta") == "delta")
    mode = "delta" if delta else "absolute"
    return ActionSemantics(mode=mode, frame=frame, rotation=rotation, gripper="closing_effort")
