"""One in-process runner for every test of the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from robopolicy.cli.main import main


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch) -> Callable[..., Done]:
    """Runs `robopolicy WORDS` in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Done:
        capsys.readouterr()
        status = main(list(words))
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    return run


@pytest.fixture
def mistake(cli) -> Callable[..., str]:
    """Runs a command that must end as a user's mistake does: status 2 and one message, which it returns; no
    bar was drawn before it.
    """

    def run(*words: str) -> str:
        done = cli(*words)
        assert done.status == 2, done
        assert "Traceback" not in done.err
        messages = [line for line in done.err.splitlines() if line.startswith(f"robopolicy {words[0]}: ")]
        assert len(messages) == 1, done.err
        assert "elapsed" not in done.err
        return messages[0]

    return run
