"""usage: robopolicy data info DIR ...
       robopolicy data check DIR ... [--quarantine]
       robopolicy data convert FILE NEW_DIR [control_hz=, state=[..], cameras=[..], task=, text=,
                                             semantics={mode: .., frame: ..}, success=]
       robopolicy data merge DIR DIR ... NEW_DIR

info shows what datasets hold. check examines every file and says what is wrong, where, and the fix (exit
status 1); with --quarantine damaged episodes are set aside, for readers to skip. convert reads OGBench's
.npz, robomimic's .hdf5 and Diffusion Policy's .zarr or .zarr.zip; a task gives names and bounds, and refuses
other data; semantics and success say what a file does not. merge writes what is readable into a new dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten

from robopolicy.cli.compose import Words, options, split
from robopolicy.core.errors import ConfigError, UnknownNameError


def run(args: Sequence[str]) -> int:
    """Do what the first word says."""
    words = split(args, flags=("--quarantine",), sweeps=False)
    action, *paths = words.some("data info|check|convert|merge DIR ...", least=2, most=999)
    if (act := {"info": info, "check": check, "convert": convert, "merge": merge}.get(action)) is None:
        raise UnknownNameError("data command", action, ["info", "check", "convert", "merge"])
    least, most = {"convert": (2, 2), "merge": (3, 1000)}.get(action, (1, 1000))
    if not least <= len(paths) <= most:
        raise ConfigError(f"data {action} got {paths}; usage: robopolicy data --help")
    return act(paths, words) or 0


def info(paths: Sequence[str], words: Words) -> None:
    """Print what each dataset holds."""
    from robopolicy.data.lerobot import open_dataset

    options(words)
    for path, dataset in ((path, open_dataset(path)) for path in paths):
        print(f"{path}: {dataset.num_episodes} episodes, {dataset.num_frames} frames at {dataset.fps:g} Hz")
        for name, items in dataset.facts().items():
            many = f" ... ({len(items)} in all)"  # on one line of a screen
            print(f"  {name:<8} {shorten(', '.join(items), 69, placeholder=many)}")
        print("".join(f"  text     {text}\n" for text in sorted(set(dataset.tasks.values()) - {""})), end="")
        if dataset.quarantined:
            print(f"  set aside: episodes {sorted(dataset.quarantined)}, which are damaged")


def check(paths: Sequence[str], words: Words) -> int:
    """Print every finding; 1 while something is wrong."""
    from robopolicy.data import check as checks

    options(words)
    reports = {path: checks.check(path) for path in paths}
    for path, report in reports.items():
        held = f"{report.num_episodes} episodes, {report.num_frames} frames"
        print(f"{path}: {held}, {len(report.findings)} finding(s)")
        print("".join(f"  {finding}\n" for finding in report.findings), end="")
        if report.damaged and "--quarantine" in words.flags:
            print(f"  set aside: episodes {sorted(checks.quarantine(path, report))}")
    return int(not all(report.ok for report in reports.values()))


def convert(paths: Sequence[str], words: Words) -> None:
    """Convert one file into a new dataset."""
    from robopolicy.core.build import fill
    from robopolicy.data.convert import convert as convert_file

    known = ("control_hz", "state", "cameras", "task", "semantics", "success")
    fill(convert_file, options(words, **dict.fromkeys(known), text=""), source=paths[0], out=paths[1])
    info(paths[-1:], split([]))


def merge(paths: Sequence[str], words: Words) -> None:
    """Merge datasets into the last path."""
    from robopolicy.data.merge import merge as merge_datasets

    options(words)
    merge_datasets(paths[:-1], paths[-1])
    info(paths[-1:], split([]))
