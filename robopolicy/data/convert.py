"""Turns other people's files into LeRobotDataset v3.0.

What differs between layouts is in `data.importers`, one module each; how their arrays become a spec and
episodes is the same for all (`importers.plan`). One episode is in memory at a time, so that a file may be
larger than it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from robopolicy.core import suites
from robopolicy.core.errors import ConfigError, DatasetError
from robopolicy.core.ranges import in_range
from robopolicy.core.spec import ActionSemantics, Spec
from robopolicy.data import origin
from robopolicy.data.importers import ogbench, replay, robomimic
from robopolicy.data.importers.plan import make_plan
from robopolicy.data.importers.source import Importer, Source, reading
from robopolicy.data.lerobot import Dataset, open_dataset
from robopolicy.data.merge import new_dataset
from robopolicy.data.store import check_episode
from robopolicy.data.writer import DatasetWriter

_IMPORTERS: tuple[Importer, ...] = (ogbench, robomimic, replay)


def convert(
    source: str | Path,
    out: str | Path,
    *,
    control_hz: float | None = None,
    state: Sequence[str] | None = None,
    cameras: Sequence[str] | None = None,
    task: str | None = None,
    text: str = "",
    semantics: Mapping[str, str] | None = None,
    success: bool | None = None,
) -> Dataset:
    """Convert a file of a known layout into a new dataset at `out`.

    Args:
        source: the file or folder; arrays of Python objects are refused.
        out: a new folder; it is there whole or not at all.
        control_hz: steps a second, where neither the file nor its layout says.
        state: names of the arrays that make the state, in this order; all by default.
        cameras: names of the cameras to keep; all by default.
        task: `suite/task` that was recorded: its names, bounds and units are taken, and what does not fit it
            is refused. Numbered names without bounds otherwise.
        text: the instruction of all episodes.
        semantics: what the actions mean, as in `ActionSemantics`, where neither the file nor a task says.
        success: whether every episode solved its task, where the file does not say.

    What nobody says is kept as unknown, see `data.origin`: actions are taken for absolute ones of joints,
    episodes for failures.

    Raises:
        ConfigError: `control_hz` is not above 0, or has to be given; or what is given is known already.
        UnknownNameError: an array, a camera or a task that does not exist.
        DatasetError: the file is not of its layout, or `out` already holds something.
        SpecMismatchError: the file does not fit the task.
    """
    in_range("convert", above=0, control_hz=control_hz)
    path = Path(source)
    importer = _importer(path)
    with importer.opened(path) as opened:
        opened = _told(path, opened, semantics, success)
        unknown = [] if opened.semantics or task else ["control"]
        unknown += [] if opened.tells_success or success is not None else ["success"]
        kept = {"file": path.name, "layout": importer.NAME, "unknown": unknown, **opened.origin}
        if task is not None:
            origin.require_task([kept], task, name=path)
        like = None if task is None else _spec_of(task)
        with reading(path):  # what cannot be a spec is the file's fault
            plan = make_plan(
                path, opened, control_hz=control_hz, state=state, cameras=cameras, like=like, text=text
            )
        with (
            new_dataset(out) as aside,
            DatasetWriter(aside, spec=plan.spec, robot_type=opened.robot_type) as writer,
        ):
            for take in opened.takes(plan.arrays):
                episode = plan.episode(take if success is None else replace(take, success=success))
                check_episode(episode, plan.spec, name=f"{path}: {take.name}")
                writer.append(episode)
            origin.write(aside, [kept])
    return open_dataset(out)


def _importer(path: Path) -> Importer:
    if not path.exists():
        raise DatasetError(f"there is no file at {path}; name one that is there")
    for importer in _IMPORTERS:
        if importer.recognises(path):
            return importer
    names = ", ".join(importer.NAME for importer in _IMPORTERS)
    raise DatasetError(f"{path} is of no layout that can be converted; these can be: {names}")


def _told(path: Path, source: Source, semantics: Mapping[str, str] | None, success: bool | None) -> Source:
    """The file with what the user says of it, which it must not say itself."""
    if success is not None and source.tells_success:
        raise ConfigError(f"{path} says which episodes succeeded; leave out success={success}")
    if semantics is None:
        return source
    try:
        meant = ActionSemantics(**semantics)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"semantics is {dict(semantics)}: {error}") from error
    if source.semantics not in (None, meant):
        raise ConfigError(f"semantics is {meant}, {path} says {source.semantics}; leave semantics out")
    return replace(source, semantics=meant)


def _spec_of(task: str) -> Spec:
    env = suites.make_env(task)
    try:
        return env.spec
    finally:
        env.close()
