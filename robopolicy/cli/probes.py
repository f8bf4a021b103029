"""What `robopolicy doctor` looks at: each probe tries the real thing and says which command mends it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from robopolicy.core.machine import GL, pip_install
from robopolicy.core.share import checkout, share
from robopolicy.core.suites import GROUP, suites
from robopolicy.core.threads import usable_cores

_DRAW = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    '<mujoco><worldbody><light pos="0 0 3"/><geom size="1" rgba="1 0 0 1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 48, 64) as renderer:
    renderer.update_scene(data)
    frame = renderer.render()
assert frame.std() > 1, 'the frame is blank'
"""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Args:
        area: for example `python`, `gl`.
        what: what was found.
        ok: whether it is as it should be.
        needed: whether the base installation cannot work without it.
        fix: the command that mends it.
    """

    area: str
    what: str
    ok: bool = True
    needed: bool = True
    fix: str = ""


def examine() -> Iterator[Finding]:
    """Every finding, as it is made; the GL probes take a few seconds."""
    yield from (_python(), *_packages(), *_processor(), _torch(), *_suites(), *_gl(), *_extras(), _disk())


def _python() -> Finding:
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    what = (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.platform(terse=True)}"
    )
    return Finding(
        "python", what, fits, fix="" if fits else "make PYTHON=/path/to/python3.12 run  (3.11 to 3.13)"
    )


def _packages() -> Iterator[Finding]:
    """The base dependencies against `constraints.txt`."""
    pins = dict(
        line.strip().split("==")
        for line in share("constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    agree = []
    for name in _requirements(extra=None):
        pin, have = pins.get(name), _version(name)
        install = pip_install(name)
        if have is None:
            yield Finding("package", f"{name} is not installed", False, fix=install)
        elif pin and have.split("+")[0] != pin:
            what = f"{name} {have}, but {pin} is what was tested"
            yield Finding("package", what, False, needed=False, fix=install)
        else:
            agree.append(f"{name} {have}")
    yield Finding("package", f"{len(agree)} as tested: {', '.join(agree)}")


def _processor() -> Iterator[Finding]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield Finding("cpu", f"{usable_cores()} of {os.cpu_count()} cores usable, {memory:.0f} GiB memory")


def _torch() -> Finding:
    import torch

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    gpu = f"GPU: {', '.join(devices)}" if devices else "no GPU that torch can use; the CPU is"
    return Finding("torch", f"{torch.get_num_threads()} thread(s) a process; {gpu}")


def _suites() -> Iterator[Finding]:
    """The simulators that plug in; what keeps one from being used is said."""
    found, failed = suites()
    ours = metadata.distribution("robopolicy").entry_points.select(group=GROUP).names
    source = f"-e {root}" if (root := checkout()) else "--force-reinstall --no-deps robopolicy"
    again = f"{sys.executable} -m pip install {source}"
    for suite in found.values():
        yield Finding("suite", f"{suite.name}: {len(suite.tasks)} tasks")
    for name, why in failed.items():
        needed = name in ours and name not in _extra_names()
        fix = why.fix or (again if name in ours else "")
        yield Finding("suite", f"{name} {why.reason}", False, needed=needed, fix=fix)
    if not found and not failed:
        yield Finding("suite", "none is registered", False, fix=again)


def _gl() -> Iterator[Finding]:
    """Draw one frame with each backend, each in a process of its own."""
    for backend, fix in GL.items():
        env = os.environ | {"MUJOCO_GL": backend}
        try:
            done = subprocess.run(
                [sys.executable, "-c", _DRAW], env=env, capture_output=True, text=True, timeout=60
            )
            reason = "" if done.returncode == 0 else _last_line(done.stderr)
        except subprocess.TimeoutExpired:
            reason = "drew nothing within 60 s"
        what = f"MUJOCO_GL={backend} " + (f"does not draw: {reason}" if reason else "draws")
        yield Finding("gl", what, not reason, needed=False, fix=fix if reason else "")


def _extras() -> Iterator[Finding]:
    """Which optional extras are there."""
    missing = {
        extra: [name for name in _requirements(extra) if _version(name) is None]
        for extra in _extra_names()
        if extra != "all"
    }
    if there := [extra for extra, lacks in missing.items() if not lacks]:
        yield Finding("extra", f"installed: {', '.join(there)}")
    for extra, lacks in missing.items():
        if lacks:
            fix = pip_install(f"robopolicy[{extra}]")
            yield Finding("extra", f"{extra}: needs {', '.join(lacks)}", False, needed=False, fix=fix)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    fix = "" if free > 2 else "free some space, or start in a folder on another disk"
    return Finding("disk", f"{free:.0f} GiB free in {Path.cwd()}", free > 2, needed=False, fix=fix)


def _extra_names() -> list[str]:
    return metadata.metadata("robopolicy").get_all("Provides-Extra") or []


def _requirements(extra: str | None) -> list[str]:
    """Normalised names of the base dependencies, or of those that one extra adds."""
    from packaging.requirements import Requirement

    found = []
    for requirement in map(Requirement, metadata.requires("robopolicy") or []):
        marker = requirement.marker
        in_base = marker is None or marker.evaluate({"extra": ""})
        if in_base if extra is None else not in_base and marker and marker.evaluate({"extra": extra}):
            found.append(re.sub(r"[-_.]+", "-", requirement.name).lower())
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _last_line(text: str) -> str:
    return ([line for line in text.strip().splitlines() if line.strip()] or ["no message"])[-1][:160]
