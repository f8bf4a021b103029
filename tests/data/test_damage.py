"""Rubbish in every place of a dataset's own files: what is wrong is said, or nothing is."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scenes import make_episode, make_spec

from robopolicy.core.errors import DatasetError
from robopolicy.data import format as fmt
from robopolicy.data.check import check, quarantine
from robopolicy.data.lerobot import open_dataset
from robopolicy.data.writer import DatasetWriter

SPEC = make_spec(env=1, cameras=("front",))
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
LATER_EPISODES = "meta/episodes/chunk-000/file-001.parquet"
GONE = object()
WHOLE = ["", "{", "[]", "{}", "null", "5", '"text"', "[" * 100_000, "\udcff"]
VALUES: list[Any] = [
    GONE,
    None,
    "text",
    -1,
    0,
    1.5,
    10**30,
    float("nan"),
    float("inf"),
    True,
    [],
    {},
    [None],
    [[]],
]
MOST = 50  # places in one file; of more, those at equal distances


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of two episodes each."""
    root = tmp_path_factory.mktemp("recorded")
    for seeds in (range(2), range(2, 4)):
        with DatasetWriter(root, spec=SPEC) as writer:
            for seed in seeds:
                writer.append(make_episode(SPEC, 3 + seed, seed=seed, text=f"task {seed}"))
    return root


@pytest.fixture
def root(recorded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded, tmp_path / "copy")


def assert_named_or_readable(root: Path) -> bool:
    """Whether it can be read. It is examined and opened with nothing but errors that a user can mend, and not
    found sound where it cannot be read.
    """
    report = check(root)
    assert all(finding.fix for finding in report.findings)
    try:
        open_dataset(root).load("state")
    except DatasetError as mistake:
        said = str(mistake)
    else:
        return True
    assert not report.ok, said
    assert str(root) in said
    return False


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a JSON value can be changed; of long lists, the first places."""
    yield at
    inner = (
        value.items() if isinstance(value, dict) else enumerate(value[:2] if isinstance(value, list) else [])
    )
    for key, item in inner:
        yield from places(item, (*at, key))


def changed(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return {} if new is GONE else new
    value = copy.copy(value)
    if new is GONE and len(at) == 1:
        del value[at[0]]
    else:
        value[at[0]] = changed(value[at[0]], at[1:], new)
    return value


def spoilt(sound: Any) -> Iterator[Any]:
    """`sound` with one place changed, to another kind of rubbish at each."""
    at = list(places(sound))
    for number, place in enumerate(at[:: -(-len(at) // MOST)]):
        yield changed(sound, place, VALUES[number % len(VALUES)])


@pytest.mark.parametrize("name", [fmt.INFO, fmt.STATS, fmt.OWN, fmt.QUARANTINE])
def test_json(root: Path, name: str) -> None:
    path = root / name
    if name == fmt.QUARANTINE:
        fmt.write_json(path, {"episodes": {"1": ["a reason"]}})
    sound = json.loads(path.read_text())
    for text in WHOLE:
        path.write_text(text, errors="surrogateescape")
        assert_named_or_readable(root)
    for rubbish in spoilt(sound):
        path.write_text(json.dumps(rubbish))
        assert_named_or_readable(root)


def columns(table: pa.Table, at: int) -> Iterator[pa.Table]:
    """The table without one column, with it twice, and with rubbish in it, of two kinds for each column."""
    name, rows = table.column_names[at], len(table)
    values = table[name].to_pylist()
    kinds = (
        [None] * rows,
        ["text"] * rows,
        [None, *values[1:]],
        [1 << 62] * rows,
        [-1] * rows,
        [[[]]] * rows,
        [1e30] * rows,
    )
    yield table.drop_columns([name])
    yield table.append_column(name, table[name])
    for number in (2 * at, 2 * at + 1):
        yield table.set_column(at, name, pa.array(kinds[number % len(kinds)]))


@pytest.mark.parametrize("name", [fmt.TASKS, EPISODES, "data/chunk-000/file-000.parquet"])
def test_parquet(root: Path, name: str) -> None:
    path = root / name
    sound, raw = pq.read_table(path), path.read_bytes()
    for content in (b"", raw[:-9], raw[: len(raw) // 2], bytes(len(raw)), raw[:40] + bytes(40) + raw[80:]):
        path.write_bytes(content)
        assert_named_or_readable(root)
    pq.write_table(sound.slice(0, 0), path)
    assert not assert_named_or_readable(root)
    pq.write_table(sound.replace_schema_metadata({"pandas": "[3", "huggingface": "[3"}), path)
    assert_named_or_readable(root)
    for at, column in enumerate(sound.column_names):
        if not column.startswith("stats/"):
            for table in columns(sound, at):
                pq.write_table(table, path)
                assert_named_or_readable(root)


@pytest.mark.parametrize("episode", ["episode-000000", "episode-000004"], ids=["new", "continued"])
def test_the_journal(root: Path, episode: str) -> None:
    again = root.parent / "again"
    shutil.copytree(root, again) if episode.endswith("4") else shutil.rmtree(root)
    writer = DatasetWriter(root, spec=SPEC)
    writer.append(make_episode(SPEC, 4, seed=9))
    kept = shutil.copytree(root / ".journal", root.parent / "journal")
    writer.finalize()

    def tried(spoil: Callable[[Path], object]) -> None:
        shutil.rmtree(root)
        shutil.copytree(again, root) if again.exists() else root.mkdir()
        shutil.copytree(kept, root / ".journal")
        spoil(root / ".journal")
        readable = False
        with contextlib.suppress(DatasetError):
            assert not check(root).ok
        said = ""
        try:
            open_dataset(root).load("state")
            readable = True
        except DatasetError as mistake:
            said = str(mistake)
        # where it was not assembled, it is still there
        assert readable == (not (root / ".journal" / episode).exists()), said

    for name in ("header.json", f"{episode}/episode.json"):
        sound = json.loads((kept / name).read_text())
        for text in WHOLE:
            tried(lambda at, n=name, t=text: (at / n).write_text(t, errors="surrogateescape"))
        for rubbish in spoilt(sound):
            tried(lambda at, n=name, r=rubbish: (at / n).write_text(json.dumps(r)))
    tried(lambda at: (at / "episode-x").mkdir())
    tried(lambda at: (at / episode / "columns.npz").write_bytes(b"PK"))
    tried(lambda at: np.savez(at / episode / "columns.npz", action=np.zeros((4, 1))))
    tried(lambda at: (at / episode / "front.mp4").write_bytes(b"no video"))


@pytest.mark.parametrize("count", [10**7, 10**30])
def test_a_count_that_cannot_be_does_not_fit(root: Path, count: int) -> None:
    path = root / fmt.INFO
    path.write_text(json.dumps(json.loads(path.read_text()) | {"total_episodes": count}))
    (finding,) = check(root).findings
    assert finding.where == fmt.INFO
    assert ("episodes 0 to 3" in finding.message) == (count == 10**7)
    with pytest.raises(DatasetError, match=r"info\.json"):
        open_dataset(root)


def test_a_damaged_file_of_episodes_hides_its_own_only(root: Path) -> None:
    want = open_dataset(root).load("state", [0, 1])
    path = root / LATER_EPISODES
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DatasetError, match="file-001"):
        open_dataset(root)
    report = check(root)
    assert LATER_EPISODES in {finding.where for finding in report.findings}
    assert set(quarantine(root, report)) == {2, 3}
    np.testing.assert_array_equal(open_dataset(root).load("state").state, want.state)
