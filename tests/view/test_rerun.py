import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from pointmass import PointMass, ToGoal

from robopolicy.control.executor import Executor
from robopolicy.control.loop import run_episodes
from robopolicy.core.errors import UserError
from robopolicy.view.rerun import RerunWriter


def rerun(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", *arguments], check=True, capture_output=True, text=True
    ).stdout


def test_a_recording_is_whole_and_holds_every_step_of_its_row(tmp_path):
    envs = [PointMass(cameras=True), PointMass(cameras=True)]
    agent = Executor(ToGoal(), env_spec=envs[0].spec)
    path = tmp_path / "films" / "episode.rrd"
    path.parent.mkdir()
    path.with_name(f".episode.rrd.tmp-{2**30}").touch()  # of a process that was killed while it wrote
    with RerunWriter(path, spec=envs[0].spec, row=1) as writer:
        lengths = [run_episodes(envs, agent, seeds, [writer])[1].length for seeds in ([0, 1], [2, 3])]
    assert list(path.parent.iterdir()) == [path]
    rerun("verify", str(path))
    rows: Counter[str] = Counter()
    for count, entity in re.findall(r"Chunk\(.*?\) with (\d+) rows.*? - (/\S+) ", rerun("print", str(path))):
        rows[entity] += int(count)
    steps = sum(lengths)
    state = [f"/observation/state/{name}" for name in ("x", "y", "env.goal.x", "env.goal.y")]
    frames = {name: steps + 2 for name in [*state, "/observation/images/top"]}
    commanded = dict.fromkeys(["/action/x", "/action/y", "/reward", "/success"], steps)
    assert {name: rows[name] for name in [*frames, *commanded]} == frames | commanded
    assert rows["/episode"] == 2


def test_a_recording_that_fails_leaves_what_was_there(tmp_path):
    env, path = PointMass(), tmp_path / "episode.rrd"

    def fail() -> None:
        with RerunWriter(path, spec=env.spec) as writer:
            run_episodes([env], Executor(ToGoal(), env_spec=env.spec), [0], [writer])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"an earlier one")
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"an earlier one"]
    with pytest.raises(UserError, match="cannot be written"), RerunWriter(tmp_path, spec=env.spec):
        pass
    assert list(tmp_path.parent.glob(f".{tmp_path.name}*")) == []


def test_a_full_disk_is_one_message_and_leaves_no_part_of_a_file(tmp_path):
    script = f"""
import resource
from pointmass import PointMass
from robopolicy.core.errors import UserError
from robopolicy.view.rerun import RerunWriter

env = PointMass(cameras=True)
step = env.reset(0)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    with RerunWriter({str(tmp_path / "films" / "e.rrd")!r}, spec=env.spec) as writer:
        for _ in range(60):
            writer.start(0, step, 0)
except UserError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[1], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert re.fullmatch(r".*e\.rrd cannot be written \(File too large\); free some space.*\n", done.stdout)
    assert list((tmp_path / "films").iterdir()) == []
