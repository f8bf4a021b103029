from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import assert_same, make_episode, make_spec

from robopolicy.core import files
from robopolicy.core.errors import DatasetError, SpecMismatchError, UserError
from robopolicy.core.types import Episode
from robopolicy.data import check, journal
from robopolicy.data.lerobot import open_dataset
from robopolicy.data.writer import DatasetWriter, split

SPEC = make_spec(state=2, action=1, env=1)
HERE = Path(__file__).parent


@st.composite
def recordings(draw: st.DrawFn) -> tuple[object, list[Episode]]:
    """A random schema and episodes of it, recorded in one or more goes."""
    spec = make_spec(
        state=draw(st.integers(0, 3)),
        action=draw(st.integers(1, 3)),
        env=draw(st.integers(0, 2)),
        hz=draw(st.sampled_from([1, 20, 50])),
    )
    shapes = draw(
        st.dictionaries(
            st.sampled_from(["value", "Größe.2", "observation.torque"]),
            st.tuples(
                st.sampled_from(["float32", "float64", "int64", "uint8", "bool"]),
                st.sampled_from([(), (1,), (3,), (2, 2), (1, 2, 3)]),
            ),
        )
    )
    texts = st.sampled_from(["", "pick the cup", "nimm die große Tasse", "杯子を取る 🦾", 'a "b"\n\t{c}'])
    eps = []
    for i, length in enumerate(draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))):
        columns = {
            # a column of shape (1,) is a scalar on disk, as in every LeRobotDataset
            name: (np.random.default_rng(i).random((length, *(() if shape == (1,) else shape))) * 9).astype(
                dtype
            )
            for name, (dtype, shape) in shapes.items()
        }
        ended = draw(st.booleans())
        eps.append(make_episode(spec, length, seed=i, terminated=ended, text=draw(texts), columns=columns))
    return spec, eps


@given(recording=recordings(), goes=st.integers(1, 3))
@settings(max_examples=18, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, recording: tuple, goes: int
) -> None:
    spec, eps = recording
    root = tmp_path_factory.mktemp("round")
    for part in range(goes):
        with DatasetWriter(root, spec=spec, robot_type="arm") as writer:
            for episode in eps[part::goes]:
                writer.append(episode)
    order = [episode for part in range(goes) for episode in eps[part::goes]]
    dataset = open_dataset(root)
    assert dataset.spec == spec
    assert (dataset.num_episodes, dataset.num_frames) == (len(eps), sum(map(len, eps)))
    store = dataset.load()
    for i, want in enumerate(order):
        assert_same(store.episode(i), want)
    assert_same(dataset.episode(len(eps) - 1), order[-1])
    assert check.check(root).findings == ()
    assert sorted(p.name for p in root.iterdir()) == ["data", "meta"]


def test_the_layout_is_that_of_lerobot(tmp_path: Path) -> None:
    """Compared with the fixture, which lerobot wrote: same columns and types wherever both have them."""
    spec = make_spec(state=6, action=6, cameras=("front",), hz=20)
    with DatasetWriter(tmp_path, spec=spec, robot_type="test") as writer:
        for i in range(3):
            writer.append(make_episode(spec, 5 + i, seed=i, text=f"task {i % 2}"))
    fixture = HERE.parents[1] / "assets" / "lerobot-v3"
    for name in ("data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"):
        theirs, ours = pq.read_schema(fixture / name), pq.read_schema(tmp_path / name)
        for field in theirs:
            assert ours.field(field.name).type == field.type, field.name
        assert set(theirs.names) <= set(ours.names)
    theirs, ours = (json.loads((root / "meta/info.json").read_text()) for root in (fixture, tmp_path))
    assert ours.keys() == theirs.keys()
    assert ours["splits"] == {"train": "0:3"}
    for key in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
        assert ours["features"][key] == theirs["features"][key]
    camera = "observation.images.front"
    assert ours["features"][camera].keys() == theirs["features"][camera].keys()
    assert ours["features"][camera]["info"].keys() == theirs["features"][camera]["info"].keys()
    pandas = json.loads(pq.read_schema(tmp_path / "meta/tasks.parquet").metadata[b"pandas"])
    assert pandas["index_columns"] == ["task"]
    stats = json.loads((tmp_path / "meta/stats.json").read_text())
    assert stats.keys() >= {"observation.state", "action", camera, "index"}
    names = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}
    assert all(set(described) == names for described in stats.values())
    assert np.shape(stats[camera]["mean"]) == (3, 1, 1)
    assert stats[camera]["count"] == [18]


RECORD = """
    import sys
    sys.path.insert(0, {here!r})
    from scenes import make_episode, make_spec
    from robopolicy.data.writer import DatasetWriter
    spec = make_spec(state=2, action=1, cameras=("front",))
    print("ready", flush=True)
    with DatasetWriter({root!r}, spec=spec) as writer:
        start = writer.num_episodes
        for i in range(start, start + 4):
            writer.append(make_episode(spec, 8, seed=i, text="t"))
            print(i, flush=True)
    print("done", flush=True)
"""


def test_a_killed_recorder_loses_at_most_the_unfinished_episode(tmp_path: Path) -> None:
    """Killed again and again at random moments, also while it assembles, and taken up again."""
    script = textwrap.dedent(RECORD.format(here=str(HERE), root=str(tmp_path)))
    spec = make_spec(state=2, action=1, cameras=("front",))
    moments, finished, kills = random.Random(0), 0, 0
    for _ in range(8):
        child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 0.35))
        child.send_signal(signal.SIGKILL)
        said = child.stdout.read().split()
        kills += child.wait() == -signal.SIGKILL
        child.stdout.close()
        finished = max([finished, *(int(word) + 1 for word in said if word != "done")])
        if finished == 0:
            continue
        dataset = open_dataset(tmp_path)
        assert finished <= dataset.num_episodes <= finished + 1
        finished = dataset.num_episodes
    assert kills >= 3
    assert finished >= 4
    store = open_dataset(tmp_path).load()
    for i in range(finished):
        assert_same(store.episode(i), make_episode(spec, 8, seed=i, text="t"))
    assert check.check(tmp_path).findings == ()


@pytest.mark.parametrize("cut", range(9))
def test_an_assembly_cut_short_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """The process dies just before each file is put in place, in turn."""
    spec = make_spec(state=2, action=1, cameras=("front",))
    eps = [make_episode(spec, 4, seed=i, text=f"task {i}") for i in range(4)]
    with DatasetWriter(tmp_path, spec=spec) as writer:
        writer.append(eps[0])
        writer.append(eps[1])
    writer = DatasetWriter(tmp_path, spec=spec)
    writer.append(eps[2])
    writer.append(eps[3])
    put, left = files.publish, [cut]

    def dying(aside: Path, path: Path) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        put(aside, path)

    monkeypatch.setattr(files, "publish", dying)
    try:
        writer.finalize()
        assert cut > 6  # data, video, episodes, tasks, own, stats, info
    except KeyboardInterrupt:
        assert cut <= 6
    monkeypatch.undo()
    dataset = open_dataset(tmp_path)
    store = dataset.load()
    assert store.num_episodes == 4
    for i, want in enumerate(eps):
        assert_same(store.episode(i), want)
    assert check.check(tmp_path).findings == ()
    assert len(list((tmp_path / "data").rglob("*"))) == 3  # a folder and two files: nothing is left over


def test_a_full_disk_is_reported_and_the_finished_episodes_stay(tmp_path: Path) -> None:
    script = f"""
        import resource, signal, sys
        sys.path.insert(0, {str(HERE)!r})
        from scenes import make_episode, make_spec
        from robopolicy.core.errors import DatasetError, UserError
        from robopolicy.data.check import Finding, Report, quarantine
        from robopolicy.data.lerobot import open_dataset
        from robopolicy.data.merge import merge
        from robopolicy.data.writer import DatasetWriter
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        spec = make_spec()
        writer = DatasetWriter({str(tmp_path)!r}, spec=spec)
        writer.append(make_episode(spec, 5, text="t"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        try:
            writer.append(make_episode(spec, 3000, text="t"))
        except DatasetError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))
        try:
            writer.finalize()
        except DatasetError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        open_dataset({str(tmp_path)!r})
        finding = Finding(where="data", episodes=(0,), message="lost", fix="")
        report = Report(findings=(finding,), num_episodes=1, num_frames=5)
        for most in (200, 2_000, 8_000):  # bytes: the header of the journal, an episode, its assembly
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
            try:
                merge([{str(tmp_path)!r}], {str(tmp_path / "new")!r})
            except UserError as error:
                print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, resource.RLIM_INFINITY))
        try:
            quarantine({str(tmp_path)!r}, report)
        except UserError as error:
            print(error)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60
    )
    said = run.stdout.splitlines()
    assert len(said) == 6, run.stderr
    assert "free space" in said[0]
    assert "1 finished episodes are safe" in said[1]
    assert all(f"{tmp_path}/new cannot be written" in line for line in said[2:5])
    assert f"{tmp_path} cannot be written" in said[5]
    assert_same(open_dataset(tmp_path).episode(0), make_episode(make_spec(), 5, text="t"))
    assert open_dataset(tmp_path).num_episodes == 1


def test_a_journal_that_was_half_removed_is_not_taken_for_new_episodes(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, spec=SPEC) as writer:
        writer.append(make_episode(SPEC, 3))
    journal.begin(tmp_path, SPEC, "arm")  # killed after the commitment, while the journal was removed
    (tmp_path / journal.FOLDER / "episode-000000").mkdir()
    assert open_dataset(tmp_path).num_episodes == 1
    assert check.check(tmp_path).findings == ()
    assert not (tmp_path / journal.FOLDER).exists()


def test_two_recorders_on_one_folder_are_refused(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, spec=SPEC) as writer:
        with pytest.raises(UserError, match=rf"process {os.getpid()} is recording in {tmp_path}"):
            DatasetWriter(tmp_path, spec=SPEC)
        writer.append(make_episode(SPEC, 3))
        writer.finalize()
        writer.finalize()
        with pytest.raises(DatasetError, match="finalized"):
            writer.append(make_episode(SPEC, 3))
    with DatasetWriter(tmp_path, spec=SPEC) as writer:
        writer.append(make_episode(SPEC, 4))
        assert open_dataset(tmp_path).num_episodes == 1  # what a living recorder has committed
    assert open_dataset(tmp_path).num_episodes == 2


def test_an_exception_keeps_what_was_finished(tmp_path: Path) -> None:
    def record() -> None:
        with DatasetWriter(tmp_path, spec=SPEC) as writer:
            writer.append(make_episode(SPEC, 3))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        record()
    assert open_dataset(tmp_path).num_episodes == 1
    assert journal.header(tmp_path) is None


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "d", spec=SPEC) as writer:
        writer.append(make_episode(SPEC, 3, columns={"value": np.zeros(3)}))
        with pytest.raises(DatasetError, match="columns"):
            writer.append(make_episode(SPEC, 3))
        with pytest.raises(DatasetError, match="state has shape"):
            writer.append(make_episode(make_spec(state=4), 3, columns={"value": np.zeros(3)}))
        broken = make_episode(SPEC, 3, columns={"value": np.zeros(3)})
        broken.action[1] = np.nan
        with pytest.raises(DatasetError, match="action is not finite at frame 1"):
            writer.append(broken)
        with pytest.raises(DatasetError, match="no steps"):
            writer.append(make_episode(SPEC, 0, columns={"value": np.zeros(0)}))
    with pytest.raises(DatasetError, match="columns"), DatasetWriter(tmp_path / "d", spec=SPEC) as writer:
        writer.append(make_episode(SPEC, 3))
    other = make_spec(state=2, action=3, env=1)
    with pytest.raises(SpecMismatchError, match=r"action\.names"):
        DatasetWriter(tmp_path / "d", spec=other)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.tex").touch()
    with pytest.raises(DatasetError, match="empty folder"):
        DatasetWriter(tmp_path / "notes", spec=SPEC)
    with pytest.raises(UserError, match="cannot be written"):
        DatasetWriter(tmp_path / "notes" / "thesis.tex", spec=SPEC)
    with pytest.raises(DatasetError, match=r"12\.5; .*: choose 12"):
        DatasetWriter(tmp_path / "e", spec=make_spec(hz=12.5))


@given(length=st.integers(1, 40), most=st.integers(1, 12))
def test_a_long_episode_is_split_without_loss(length: int, most: int) -> None:
    whole = make_episode(SPEC, length, terminated=True)
    parts = list(split(whole, max_steps=most))
    assert [len(part) for part in parts[:-1]] == [most] * (len(parts) - 1)
    np.testing.assert_array_equal(np.concatenate([part.state for part in parts]), whole.state)
    assert sum((part.source for part in parts), ()) == whole.source
    assert [part.terminated for part in parts] == [False] * (len(parts) - 1) + [True]
