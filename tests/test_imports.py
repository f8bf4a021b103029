"""What must stay light stays light: each in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

LIGHT_COMMANDS = """
import importlib, sys
from robopolicy.cli.main import COMMANDS, main
assert main(["--help"]) == 0
for name in COMMANDS:
    importlib.import_module(f"robopolicy.cli.{name}")
heavy = {"torch", "mujoco", "pyarrow", "transformers", "diffusers", "hydra"} & set(sys.modules)
assert not heavy, heavy
"""

CORE_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # an import of it now fails
import robopolicy.core.spec, robopolicy.core.types, robopolicy.core.errors, robopolicy.core.share
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_commands_load_nothing_heavy_before_they_run() -> None:
    done = run(LIGHT_COMMANDS)
    assert done.returncode == 0, done.stderr


def test_specs_and_types_need_no_torch() -> None:
    done = run(CORE_WITHOUT_TORCH)
    assert done.returncode == 0, done.stderr
