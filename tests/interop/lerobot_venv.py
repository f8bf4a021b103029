"""An environment that holds a real lerobot 0.4.4, with the torch, torchvision and torchcodec it wants.

It lies in `.venv-interop` of the checkout, or where INTEROP_VENV says, and is made once: about 8 GB,
since the torch 2.10 of the package index is the CUDA build. TORCH_INDEX names an index for torch alone;
one with CPU-only wheels saves most of that. Run as a program, this prints the path of the environment's
Python.

lerobot's default video decoder, torchcodec, wants the FFmpeg libraries. PyAV brings them, under names of
its own; links give them back the names that torchcodec looks for, so that nothing need be installed on
the machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = ("lerobot==0.4.4", "torch==2.10.0", "torchvision==0.25.0")
CONSTRAINTS = HERE / "constraints.txt"


def folder() -> Path:
    return Path(os.environ.get("INTEROP_VENV", HERE.parents[1] / ".venv-interop")).absolute()


def make() -> Path:
    """The environment's Python; the environment is made where it is missing, half made or outdated."""
    venv = folder()
    python = venv / "bin" / "python"
    recipe = "\n".join(REQUIREMENTS) + CONSTRAINTS.read_text()
    marker = venv / f".complete-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if marker.exists():
        return python
    if venv.exists() and not (venv / "pyvenv.cfg").exists():
        sys.exit(f"INTEROP_VENV={venv} is not a virtual environment; name another folder")
    print(f"Making {venv}: lerobot 0.4.4 with its own torch (some minutes, up to 8 GB)", file=sys.stderr)
    shutil.rmtree(venv, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    (venv / ".gitignore").write_text("*\n")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", CONSTRAINTS]
    if index := os.environ.get("TORCH_INDEX"):
        subprocess.run([*pip, "--index-url", index, *REQUIREMENTS[1:]], check=True)
    subprocess.run([*pip, *REQUIREMENTS], check=True)
    _name_ffmpeg(venv)
    marker.touch()
    return python


def environment() -> dict[str, str]:
    """Variables to run it with: one thread, no network, and the FFmpeg libraries on the path."""
    (packages,) = folder().glob("lib/python3*/site-packages")
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "SVT_LOG": "1",  # errors only
        "PYTHONWARNINGS": "ignore",
        "LD_LIBRARY_PATH": f"{folder() / 'ffmpeg'}:{packages / 'av.libs'}",
    }


def _name_ffmpeg(venv: Path) -> None:
    """`av.libs/libavcodec-7ee0753d.so.61.19.101` becomes reachable as `ffmpeg/libavcodec.so.61`."""
    links = venv / "ffmpeg"
    links.mkdir()
    for library in venv.glob("lib/python3*/site-packages/av.libs/lib*.so.*"):
        name, _, rest = library.name.partition("-")
        if name.startswith(("libav", "libsw")):
            major = rest.split(".so.")[1].split(".")[0]
            (links / f"{name}.so.{major}").symlink_to(library)


if __name__ == "__main__":
    print(make())
