"""What the README says is run: its Python, its commands (as far as their settings), its map, its targets."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from robopolicy.cli.compose import compose, split
from robopolicy.cli.main import COMMANDS
from robopolicy.testing import check_learner
from robopolicy.train.collect import collect
from robopolicy.train.run import train

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.S)


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


def test_the_first_screen_runs(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    collect("tabletop/pick_place", 2, "expert", "data")
    policy = {"_target_": "robopolicy.policies.flow.FlowPolicy"}
    settings = {"policy": policy, "data": "data", "steps": 1, "batch_size": 4}
    train(settings, "runs/quickstart/latest", report=lambda *_: None)
    code = next(text for text in blocks("python") if "run_episode" in text)
    assert len([line for line in code.splitlines() if line]) == 6
    exec(compile(code, "README.md", "exec"), {})
    assert "success=" in capsys.readouterr().out


def test_the_method_keeps_every_promise_and_can_be_pasted() -> None:
    code = next(text for text in blocks("python") if "Learner" in text)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    check_learner(lambda spec: names["MeanPolicy"](spec=spec))
    assert 50 <= len(code.splitlines()) <= 400  # of every file here, see test_lengths
    pasted = ("--stdin-filename", "robopolicy/policies/mean.py", "-")
    for rule in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *rule, *pasted]
        done = subprocess.run(ruff, cwd=ROOT, input=code, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


COMMAND_LINES = [
    line for text in blocks("bash") for line in text.splitlines() if line.startswith("robopolicy ")
]


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_commands_compose(line: str) -> None:
    _, command, *args = shlex.split(line)
    assert command in COMMANDS
    words = split(args, flags=("--compare",))
    if command in ("collect", "train", "eval"):
        compose(command, [re.sub(r"=([^,]*),.*", r"=\1", word) for word in words.overrides])


def test_paths_and_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)", README) + re.findall(r"^make (\w+)", README, flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
    area = ""
    for line in next(text for kind, text in BLOCKS if not kind).splitlines():
        path = line.split()[0]
        area = path if not line.startswith(" ") else area
        assert (ROOT / (path if path == area else area + path)).exists(), path
    for path in re.findall(r"`((?:robopolicy|sim|configs|tests|benchmarks)/[\w/.]*)`", README):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / path).exists(), path
