"""Which policies a command line names, and the checkpoints of each: `[NAME=]CHECKPOINT[,CHECKPOINT ...]`.

Several checkpoints are one policy, trained with several seeds; so is a folder of runs. Without a name a
policy is called after its folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from robopolicy.cli.compose import Words
from robopolicy.core.errors import ConfigError

_NAMED = re.compile(r"([\w.-]+)=(.+)")


def set_apart(words: Words, keys: Mapping[str, object]) -> Words:
    """The words with `NAME=CHECKPOINT` among the positional ones, where `split` took it for an override.

    What is named is no key of the command, and its value is a path: there, or written with a slash.
    """
    named = []
    for word in words.overrides:
        found = _NAMED.fullmatch(word)
        if found and found[1].split(".")[0] not in keys:
            parts = found[2].split(",")
            if any("/" in part or Path(part).exists() for part in parts):
                named.append(word)
    rest = tuple(word for word in words.overrides if word not in named)
    return replace(words, positional=(*words.positional, *named), overrides=rest)


def policies_of(words: Sequence[str]) -> dict[str, list[str]]:
    """Name to the checkpoints of each training seed, in the order of the command line.

    Raises:
        ConfigError: a name or a checkpoint is given more than once.
    """
    parsed = [_parse(word) for word in words]
    short = [name or ",".join(map(_folder, paths)) for name, paths in parsed]
    if len(set(short)) < len(short):
        short = [name or word for word, (name, _) in zip(words, parsed, strict=True)]
    given = [path for _, paths in parsed for path in paths]
    for kind, said in (("name", short), ("checkpoint", given)):
        if twice := [each for each in dict.fromkeys(said) if said.count(each) > 1]:
            raise ConfigError(f"the {kind} {twice[0]} is given more than once; give each {kind} once")
    return {
        name: [run for path in paths for run in _runs(path)]
        for name, (_, paths) in zip(short, parsed, strict=True)
    }


def _parse(word: str) -> tuple[str | None, list[str]]:
    if Path(word).exists():  # whatever is in its name
        return None, [word]
    found = _NAMED.fullmatch(word)
    name, paths = (found[1], found[2]) if found else (None, word)
    return name, paths.split(",")


def _folder(path: str) -> str:
    return Path(path.removesuffix("/").removesuffix("/checkpoints/last")).name


def _runs(path: str) -> list[str]:
    """The runs in a folder of runs, in the order of their names; everything else is one checkpoint."""
    folder = Path(path)
    if not folder.is_dir() or (folder / "checkpoints").is_dir():
        return [path]
    inside = sorted(
        run for run in folder.iterdir() if (run / "checkpoints").is_dir() and not run.is_symlink()
    )
    return [str(run) for run in inside] or [path]
