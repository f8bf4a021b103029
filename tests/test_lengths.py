"""A file is one room: 50 to 400 lines; a command's file at most 80. Exceptions are argued here."""

from __future__ import annotations

from pathlib import Path

import pytest

from robopolicy.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
EXCEPTIONS = {
    "robopolicy/cli/progress.py": "one bar, for every command that has something to wait for",
    "robopolicy/core/errors.py": "the kinds of mistake are few, and everything imports them",
}
COMMAND_FILES = {f"robopolicy/cli/{name}.py" for name in COMMANDS}
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in ("robopolicy", "sim")
    for path in (ROOT / package).rglob("*.py")
    if path.name != "__init__.py"
)


def lines(name: str) -> int:
    return len((ROOT / name).read_text().splitlines())


@pytest.mark.parametrize("name", [name for name in FILES if name not in EXCEPTIONS])
def test_one_room(name: str) -> None:
    least, most = (1, 80) if name in COMMAND_FILES else (50, 400)
    assert least <= lines(name) <= most


def test_exceptions_are_needed() -> None:
    assert [name for name in EXCEPTIONS if 50 <= lines(name) <= 400] == []


def test_every_command_has_its_file() -> None:
    assert set(FILES) >= COMMAND_FILES
