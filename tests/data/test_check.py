from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scenes import assert_same, make_episode, make_spec

from robopolicy.core.errors import DatasetError
from robopolicy.data import format as fmt
from robopolicy.data.check import Report, check, quarantine
from robopolicy.data.collected import COLLECTED
from robopolicy.data.episodes import span
from robopolicy.data.lerobot import open_dataset
from robopolicy.data.origin import ORIGIN
from robopolicy.data.writer import DatasetWriter

SPEC = make_spec(cameras=("front",))
EPISODES = [make_episode(SPEC, 6 + i, seed=i, text=f"task {i}") for i in range(4)]
DATA = "data/chunk-000/file-000.parquet"
LATER_DATA = "data/chunk-000/file-001.parquet"
META = "meta/episodes/chunk-000/file-000.parquet"
CAMERA = "observation.images.front"
VIDEO = "videos/observation.images.front/chunk-000/file-000.mp4"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of two episodes each."""
    root = tmp_path_factory.mktemp("recorded")
    for part in (EPISODES[:2], EPISODES[2:]):
        with DatasetWriter(root, spec=SPEC) as writer:
            for episode in part:
                writer.append(episode)
    return root


@pytest.fixture
def root(recorded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded, tmp_path / "copy")


def change(path: Path, column: str, row: int, value: object) -> None:
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[row] = value
    at = table.column_names.index(column)
    pq.write_table(table.set_column(at, column, pa.array(values, table[column].type)), path)


def assert_found(root: Path, said: str, *, where: str, episodes: set[int]) -> Report:
    report = check(root)
    (mine,) = [f for f in report.findings if said in f.message and f.where == where]
    assert set(mine.episodes) == episodes, "\n".join(map(str, report.findings))
    assert all(f.fix for f in report.findings)
    assert not report.ok
    return report


def assert_the_rest_reads(root: Path, report: Report, lost: set[int]) -> None:
    """After quarantine the rest reads as it was written."""
    assert set(quarantine(root, report)) == lost
    dataset = open_dataset(root)
    assert set(dataset.episodes) == set(range(4)) - lost
    store = dataset.load()
    for position, index in enumerate(dataset.episodes):
        assert_same(store.episode(position), EPISODES[index])
    with pytest.raises(DatasetError, match="quarantined"):
        dataset.load("state", [min(lost)])


def test_a_sound_dataset_has_no_findings(root: Path) -> None:
    assert check(root).ok
    fixture = Path(__file__).parents[2] / "assets" / "lerobot-v3"
    assert check(fixture).findings == ()


def test_a_truncated_file_costs_its_own_episodes(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = root / LATER_DATA
    path.write_bytes(path.read_bytes()[:-40])
    report = assert_found(root, "cannot be read", where=LATER_DATA, episodes={2, 3})
    with caplog.at_level(logging.WARNING):
        assert_the_rest_reads(root, report, {2, 3})
    assert "2 quarantined episodes are skipped" in caplog.text


def test_a_dataset_without_its_info_is_a_finding_and_no_dataset_is_a_mistake(root: Path) -> None:
    (root / fmt.INFO).write_text("{")
    assert_found(root, "is damaged", where=fmt.INFO, episodes=set())
    (root / fmt.INFO).unlink()
    assert_found(root, "is missing", where=fmt.INFO, episodes=set())
    writer = DatasetWriter(root / "new", spec=SPEC)
    writer.append(EPISODES[0])
    (root / "new" / "meta").mkdir()
    assert_found(root / "new", "1 recorded episodes wait", where=fmt.INFO, episodes=set())
    (root / "new" / "meta").rmdir()
    for none in (root / "new", root / "nowhere"):
        with pytest.raises(DatasetError):
            check(none)
    writer.finalize()


def test_one_fault_of_several_episodes_is_said_once_and_names_them(root: Path) -> None:
    (root / DATA).unlink()
    (finding,) = [f for f in check(root).findings if f.where == DATA]
    assert str(finding).startswith(f"{DATA}, episodes 0 to 1: ")
    assert span([7]) == "episode 7"
    assert span([0, 1, 2, 5, 8, 9]) == "episodes 0 to 2, 5, 8 to 9"
    assert span(range(0, 100, 2)).endswith("22 ... 50 in all")


def test_a_missing_file(root: Path) -> None:
    (root / DATA).unlink()
    assert_the_rest_reads(root, assert_found(root, "is missing", where=DATA, episodes={0, 1}), {0, 1})


def test_nan(root: Path) -> None:
    change(root / DATA, "observation.state", 8, [0.0, float("nan"), 0.0])  # frame 2 of episode 1
    report = assert_found(root, "observation.state is not finite at frame 2", where=DATA, episodes={1})
    assert_the_rest_reads(root, report, {1})


def test_a_gap_in_time(root: Path) -> None:
    change(root / DATA, "timestamp", 3, 0.5)
    assert_the_rest_reads(
        root, assert_found(root, "timestamp of frame 3 is 0.5", where=DATA, episodes={0}), {0}
    )


def test_a_wrong_length(root: Path) -> None:
    change(root / META, "length", 0, 5)
    report = assert_found(root, "episode 0 has 6 rows, its length is 5", where=DATA, episodes={0})
    assert_found(root, "total_frames is 30, but the episodes", where=fmt.INFO, episodes=set())
    assert_the_rest_reads(root, report, {0})


def test_a_missing_episode(root: Path) -> None:
    pq.write_table(pq.read_table(root / META).slice(0, 1), root / META)
    assert_the_rest_reads(
        root, assert_found(root, "the episode is missing", where="meta/episodes", episodes={1}), {1}
    )


def test_a_flipped_count(root: Path) -> None:
    path = root / fmt.INFO
    path.write_text(path.read_text().replace('"total_frames": 30', '"total_frames": 31'))
    assert_found(
        root,
        "total_frames is 31, but the episodes of meta/episodes sum to 30",
        where=fmt.INFO,
        episodes=set(),
    )


@pytest.mark.parametrize("name", ["min", "max", "mean", "std", "count", "q01", "q50", "q99"])
def test_stats_that_do_not_match(root: Path, name: str) -> None:
    path = root / fmt.STATS
    stats = json.loads(path.read_text())
    stats["action"][name][-1] += 1
    path.write_text(json.dumps(stats))
    assert_found(root, f"action: {name} is", where=fmt.STATS, episodes=set())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda stats: stats.clear(), "action: the statistics are None"),
        (lambda stats: stats.pop("action"), "action: the statistics are None"),
        (lambda stats: stats["action"].pop("std"), "action: std is missing"),
        (lambda stats: stats["action"].update(min=[0.0]), r"action: min has shape (1,), (2,) is meant"),
        (lambda stats: stats["action"].update(max="much"), "action: max is much, numbers are meant"),
        (lambda stats: stats["timestamp"].pop("count"), "timestamp: count is missing"),
        (lambda stats: stats.pop(CAMERA), f"{CAMERA}: the statistics are None"),
        (lambda stats: stats[CAMERA].update(mean=[0.1, 0.4, 0.4]), f"{CAMERA}: mean has shape (3,)"),
        (lambda stats: stats[CAMERA].update(mean=[[[90]], [[110]], [[110]]]), f"{CAMERA}: mean is [90,"),
        (lambda stats: stats[CAMERA].update(max=[[[255]]] * 3), "are not levels from 0 to 1"),
    ],
)
def test_stats_that_are_missing_or_cannot_be(root: Path, change: Callable[[Any], object], said: str) -> None:
    stats = json.loads((root / fmt.STATS).read_text())
    change(stats)
    (root / fmt.STATS).write_text(json.dumps(stats))
    assert_found(root, said, where=fmt.STATS, episodes=set())


def test_a_video_that_is_too_short(root: Path) -> None:
    from robopolicy.data import video

    short = root / "short.mp4"
    assert video.cut(video.Clip(path=root / VIDEO, start=0, length=10), short, fps=30)
    short.replace(root / VIDEO)
    report = assert_found(root, "3 of 7 frames are missing, the first is 10", where=VIDEO, episodes={1})
    assert_the_rest_reads(root, report, {1})


def test_a_broken_video(root: Path) -> None:
    (root / VIDEO).write_bytes(b"not a video")
    assert_the_rest_reads(root, assert_found(root, "video", where=VIDEO, episodes={0, 1}), {0, 1})


def test_quarantine_adds_up_and_a_damaged_one_is_named(root: Path) -> None:
    change(root / DATA, "timestamp", 0, 0.5)
    quarantine(root, check(root))
    change(root / LATER_DATA, "action", 0, [np.inf, 0.0])
    assert set(quarantine(root, check(root))) == {0, 2}
    (root / fmt.QUARANTINE).write_text("[]")
    with pytest.raises(DatasetError, match=r"quarantine\.json: is damaged"):
        open_dataset(root)


def test_a_damaged_own_file_is_named(root: Path) -> None:
    for damage in ("{}", '{"spec": {}, "batches": []}', '{"batches": [3]}'):
        (root / fmt.OWN).write_text(damage)
        with pytest.raises(DatasetError, match=r"robopolicy\.json: is damaged"):
            open_dataset(root)


@pytest.mark.parametrize("content", [b"7\n", b"\xff", b"{"])
@pytest.mark.parametrize("name", [COLLECTED, ORIGIN, fmt.QUARANTINE])
def test_a_damaged_file_beside_the_format_is_one_finding(root: Path, name: str, content: bytes) -> None:
    (root / name).write_bytes(content)
    (finding,) = check(root).findings
    assert (finding.where, "is damaged" in finding.message) == (name, True)


def test_episodes_still_in_the_journal_are_found(root: Path) -> None:
    writer = DatasetWriter(root, spec=SPEC)
    writer.append(EPISODES[0])
    assert_found(root, "1 recorded episodes are not part", where=".journal", episodes=set())
    writer.finalize()
    assert check(root).ok
