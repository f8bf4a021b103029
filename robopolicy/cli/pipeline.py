"""A list of stages that is done once, whatever interrupts it.

A run is a folder. `settings.json` in it says what was asked for, and `stages/<name>.json` that a stage is
complete; it is written last and whole. Until then `stages/<name>.part.json` keeps the stage's seconds.
Started again with the same settings, the newest unfinished run goes on with its first stage that is not
complete. A stage's own work must be resumable or cheap to repeat.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from robopolicy.cli.progress import bars
from robopolicy.core.errors import ConfigError, UserError
from robopolicy.core.files import point, write_text, writing
from robopolicy.core.machine import Lock, missing_folders, remove_empty

Report = Callable[[int, int], None]  # how much of how much is done

_KEEP_S = 1.0  # how often a stage's seconds are kept: a session that is killed loses little of its time


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a pipeline.

    Args:
        folder: where everything goes.
        settings: what was asked for.
    """

    folder: Path
    settings: Mapping[str, Any]

    def facts(self, stage: str) -> dict[str, Any]:
        """What a complete stage said of itself, with its seconds; empty when it is not complete.

        Raises:
            UserError: its file is damaged.
        """
        return self._read(f"{stage}.json", "and its stage is done again")

    def spent(self, stage: str) -> float:
        """Seconds that sessions so far gave to a stage that is not complete.

        Raises:
            UserError: its file is damaged.
        """
        return self._read(f"{stage}.part.json", "and its stage's time counts from now").get("seconds", 0.0)

    def _read(self, name: str, then: str) -> dict[str, Any]:
        path = self.folder / "stages" / name
        if not path.is_file():
            return {}
        try:
            facts = json.loads(path.read_text())
            facts["seconds"] = float(facts["seconds"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise UserError(f"{path} is damaged ({error!r}); delete it, {then}") from error
        return facts


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a pipeline.

    Args:
        name: of its marker file.
        title: what the progress bar says.
        work: does it; reports how far it is and returns facts, plain values for later stages and the report.
        by_hand: the shell command that does the same.
    """

    name: str
    title: str
    work: Callable[[Run, Report], Mapping[str, Any]]
    by_hand: Callable[[Run], str]


def begin(root: Path, settings: Mapping[str, Any], stages: Sequence[Stage], *, fresh: bool = False) -> Run:
    """The newest unfinished run under `root` that was asked for the same, or a new one.

    Args:
        root: the folder of runs.
        settings: plain values.
        stages: a run is finished when all of these are complete.
        fresh: never resume.

    Raises:
        UserError: the folder cannot be written, or what an earlier run says of itself is damaged.
    """
    wanted = json.loads(json.dumps(settings))
    if not fresh and root.is_dir():
        for folder in sorted(root.iterdir(), reverse=True):
            if folder.is_symlink():
                continue
            run = Run(folder=folder, settings=wanted)
            if _settings(folder) == wanted and not all(run.facts(stage.name) for stage in stages):
                return run
    run = Run(folder=new_folder(root), settings=wanted)
    try:
        with writing(run.folder):
            (run.folder / "stages").mkdir()
            write_text(run.folder / "settings.json", json.dumps(wanted, indent=1))
    except UserError:
        remove_empty([run.folder / "stages", run.folder])
        raise
    return run


def new_folder(root: Path) -> Path:
    """Make `root/<time>`; two that begin within one second get different names.

    Raises:
        UserError: it cannot be made.
    """
    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for name in itertools.chain([now], (f"{now}_{count}" for count in itertools.count(2))):
        try:
            root.mkdir(parents=True, exist_ok=True)
            (root / name).mkdir()
        except OSError as error:
            if isinstance(error, FileExistsError) and root.is_dir():
                continue
            raise UserError(
                f"{root.absolute()} cannot be written ({error.strerror}); work in another directory"
            ) from error
        return root / name
    raise AssertionError("the names do not end")


@contextmanager
def output_folder(given: Any, root: Path) -> Iterator[Path]:
    """The folder that is asked for as `output`, or a new one under `root` for None.

    A new one in which nothing is written is removed again: what is refused leaves nothing behind.

    Raises:
        ConfigError: `given` is no path.
    """
    if given is not None:
        yield path_of(given, "output")
        return
    made = missing_folders(root)
    folder = new_folder(root)
    try:
        yield folder
    finally:
        remove_empty([folder, *made])


def path_of(given: Any, name: str) -> Path:
    """A path that a user gave as `name=`; ConfigError for a number, or nothing."""
    if not isinstance(given, str) or not given:
        raise ConfigError(f"{name} is {given!r}; a path is meant, in quotes where it looks like a number")
    return Path(given)


def carry_out(run: Run, stages: Sequence[Stage], console: Console) -> None:
    """Do every stage that is not complete, each with a bar that shows the time left.

    Raises:
        UserError: another process is at it, or the disk refuses.
    """
    instead = "begin a run of its own with fresh=true"
    with Lock(run.folder / "stages", doing="at work", instead=instead), bars(console) as display:
        for number, stage in enumerate(stages, start=1):
            title = f"{number}/{len(stages)} {stage.title:<30}"
            if facts := run.facts(stage.name):
                display.console.print(f"{title}: done before, in {facts['seconds']:.0f} s")
                continue
            bar = display.add_task(title, total=None)
            _do(run, stage, lambda done, of, bar=bar: display.update(bar, completed=done, total=of))


def _do(run: Run, stage: Stage, report: Report) -> None:
    """Do one stage; its seconds are those of all the sessions it took."""
    folder = run.folder / "stages"
    start = kept = time.monotonic()
    start -= run.spent(stage.name)

    def keep() -> None:
        with writing(run.folder):
            write_text(folder / f"{stage.name}.part.json", json.dumps({"seconds": time.monotonic() - start}))

    def tell(done: int, of: int) -> None:
        nonlocal kept
        report(done, of)
        if time.monotonic() - kept >= _KEEP_S:
            keep()
            kept = time.monotonic()

    try:
        facts = dict(stage.work(run, tell))
    except BaseException:
        keep()
        raise
    facts["seconds"] = time.monotonic() - start
    with writing(run.folder):
        write_text(folder / f"{stage.name}.json", json.dumps(facts, indent=1))
        (folder / f"{stage.name}.part.json").unlink(missing_ok=True)


def point_latest(run: Run) -> Path:
    """Make `latest` beside the run point at it."""
    link = run.folder.parent / "latest"
    with writing(link.parent):
        point(link, run.folder.name)
    return link


def _settings(folder: Path) -> Any:
    try:
        return json.loads((folder / "settings.json").read_text())
    except (OSError, ValueError):  # not a run of ours, or killed before it began
        return None
