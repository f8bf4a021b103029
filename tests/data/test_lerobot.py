"""Reading what lerobot 0.4.4 wrote (known values), and refusing what is damaged or hostile."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Still
from scenes import make_episode, make_spec

from robopolicy.core.errors import DatasetError
from robopolicy.data import format as fmt
from robopolicy.data.lerobot import Dataset, open_dataset
from robopolicy.data.store import Store
from robopolicy.data.writer import DatasetWriter

FIXTURE = Path(__file__).parents[2] / "assets" / "lerobot-v3"
LENGTHS = (30, 31, 32)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(FIXTURE, tmp_path / "copy")


def fixture(cache: Path) -> Dataset:
    return open_dataset(FIXTURE, cache=cache)


def check_episode(store: Store, position: int, index: int) -> None:
    """The values that the fixture's README promises."""
    episode = store.episode(position)
    length = LENGTHS[index]
    t, i = np.arange(length)[:, None], np.arange(6)[None]
    state = (100 * index + t + 0.1 * i).astype(np.float32)
    assert len(episode) == length
    np.testing.assert_allclose(episode.state, state, rtol=1e-6)
    np.testing.assert_array_equal(episode.action, -episode.state)
    assert episode.text == f"task {index % 2}"
    colour = np.stack([np.full(length, 80 * index), 7 * np.arange(length), np.full(length, 128)], axis=1)
    frames = episode.images["front"].astype(int)
    assert frames.shape == (length, 3, 84, 84)
    assert np.abs(frames - colour[:, :, None, None]).max() <= 5


def test_the_fixture_reads_back_exactly(tmp_path: Path) -> None:
    dataset = fixture(tmp_path)
    assert (dataset.num_episodes, dataset.num_frames, dataset.fps) == (3, 93, 20)
    assert dataset.tasks == {0: "task 0", 1: "task 1"}
    assert dataset.robot_type == "test"
    assert dataset.spec.state.names == tuple(f"j{i}.pos" for i in range(6))
    assert dataset.spec.control_hz == 20
    assert dataset.spec.text
    store = dataset.load()
    assert isinstance(store.images["front"], np.memmap)
    for index in range(3):
        check_episode(store, index, index)
    some = dataset.load("all", episodes=[2, 0])  # by key, in the order that was asked for
    check_episode(some, 0, 2)
    check_episode(some, 1, 0)
    assert dataset.load("state").images == {}


def test_the_frame_cache_is_made_once_and_again_when_the_video_changes(copy: Path) -> None:
    open_dataset(copy).load("pixels")
    (cache,) = (copy / ".cache").iterdir()
    made = cache.stat().st_mtime_ns
    open_dataset(copy).load("pixels")
    assert cache.stat().st_mtime_ns == made
    video = copy / "videos/observation.images.front/chunk-000/file-000.mp4"
    video.write_bytes(video.read_bytes())
    open_dataset(copy).load("pixels")
    (again,) = (copy / ".cache").iterdir()
    assert again.name != cache.name


def test_rows_are_found_by_key_not_by_position(copy: Path) -> None:
    path = copy / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    order = np.random.default_rng(0).permutation(len(table))
    pq.write_table(table.take(order), path)
    episodes = copy / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(episodes).take([2, 0, 1]), episodes)
    store = open_dataset(copy).load()
    for index in range(3):
        check_episode(store, index, index)


def test_pictures_within_the_data_file_are_read(copy: Path) -> None:
    """lerobot's datasets of `use_videos=False`: encoded stills in a column, of a camera with another name."""
    frames = np.random.default_rng(0).integers(0, 255, (93, 20, 30, 3)).astype(np.uint8)

    def png(frame: np.ndarray) -> bytes:
        Still.fromarray(frame).save(out := io.BytesIO(), "PNG")
        return out.getvalue()

    path = copy / FILES[0]
    cells = pa.array([{"bytes": png(frame), "path": None} for frame in frames])
    pq.write_table(pq.read_table(path).append_column("observation.image", cells), path)
    features = json.loads((copy / fmt.INFO).read_text())["features"]
    del features["observation.images.front"]
    features["observation.image"] = {
        "dtype": "image",
        "shape": [3, 20, 30],
        "names": ["channels", "height", "width"],
    }
    edit_info(copy, features=features, video_path=None)
    store = open_dataset(copy).load("pixels")
    np.testing.assert_array_equal(store.images["image"], frames.transpose(0, 3, 1, 2))
    some = open_dataset(copy).load("pixels", [2, 1])
    np.testing.assert_array_equal(some.images["image"][:32], store.images["image"][61:])
    features["observation.image"]["shape"] = [3, 30, 20]
    edit_info(copy, features=features)
    with pytest.raises(DatasetError, match="the picture is 20 x 30"):
        open_dataset(copy).load("pixels")


def edit_info(root: Path, **changes: object) -> None:
    path = root / fmt.INFO
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("total_frames", 94, "total_frames is 94, but the episodes of meta/episodes sum to 93"),
        ("total_episodes", 4, "total_episodes is 4"),
        ("total_episodes", "3", "a whole number"),
        ("codebase_version", "v2.1", "convert older datasets"),
        ("fps", 0, "a positive number"),
        ("features", {"action": {"dtype": "float32"}}, "dtype, shape, names"),
        ("data_path", "../{chunk_index}.parquet", "outside the dataset"),
        ("data_path", "/etc/passwd", "outside the dataset"),
        ("data_path", "data/{chunk_index.__class__}.parquet", "may only hold"),
        ("data_path", "data/\0.parquet", "not valid"),
        ("data_path", None, "not valid"),
        ("video_path", "videos/../../{video_key}.mp4", "outside the dataset"),
    ],
)
def test_a_wrong_info_is_refused(copy: Path, key: str, value: object, said: str) -> None:
    edit_info(copy, **{key: value})
    with pytest.raises(DatasetError, match=said) as caught:
        open_dataset(copy)
    assert "info.json" in str(caught.value)


def test_a_link_out_of_the_dataset_is_refused(copy: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere.parquet"
    path = copy / "data/chunk-000/file-000.parquet"
    path.rename(outside)
    path.symlink_to(outside)
    with pytest.raises(DatasetError, match="outside the dataset"):
        open_dataset(copy)


FILES = ["data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", fmt.TASKS, fmt.INFO]
VIDEO = "videos/observation.images.front/chunk-000/file-000.mp4"


@pytest.mark.parametrize("name", [*FILES, VIDEO])
@pytest.mark.parametrize("damage", ["missing", "cut", "garbage"])
def test_a_damaged_file_is_named(copy: Path, name: str, damage: str) -> None:
    path = copy / name
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    else:
        path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))
    with pytest.raises(DatasetError) as caught:
        open_dataset(copy).load()
    named = "meta/episodes" if damage == "missing" and "episodes" in name else name
    assert named in str(caught.value)


def test_a_file_that_claims_more_rows_than_the_dataset_is_not_read(copy: Path) -> None:
    path = copy / FILES[0]
    rows = 1_000_000
    pq.write_table(pa.table({"index": pa.array(np.zeros(rows, np.int64))}), path)
    with pytest.raises(DatasetError, match="1000000 rows, the dataset has 93"):
        open_dataset(copy).load("state")


def test_a_wrong_length_is_refused(copy: Path) -> None:
    path = copy / FILES[1]
    table = pq.read_table(path)
    at = table.column_names.index("length")
    pq.write_table(table.set_column(at, "length", pa.array([29, 32, 32])), path)
    with pytest.raises(DatasetError, match="episode 0 has 30 rows, its length is 29"):
        open_dataset(copy).load()


def test_an_unknown_or_empty_choice_is_refused(tmp_path: Path) -> None:
    dataset = fixture(tmp_path)
    with pytest.raises(DatasetError, match="no episode 7; it has episodes 0 to 2"):
        dataset.load("state", [7])
    with pytest.raises(DatasetError, match="no readable episode"):
        dataset.load("state", [])
    with pytest.raises(DatasetError, match="there is no dataset"):
        open_dataset(tmp_path / "nowhere")
    with DatasetWriter(tmp_path / "empty", spec=make_spec()):
        pass
    with pytest.raises(DatasetError, match=r"nothing was recorded|no dataset"):
        open_dataset(tmp_path / "empty")


def test_a_policy_sees_the_part_it_may_see(tmp_path: Path) -> None:
    spec = make_spec(state=2, env=2, cameras=("front",))
    with DatasetWriter(tmp_path, spec=spec) as writer:
        writer.append(make_episode(spec, 4))
    dataset = open_dataset(tmp_path)
    pixels, state, everything = (dataset.load(observe) for observe in ("pixels", "state", "all"))
    assert pixels.spec.state.names == ("joint0", "joint1")
    assert list(pixels.images) == ["front"]
    assert state.spec.state.names == spec.state.names
    assert state.images == {}
    np.testing.assert_array_equal(everything.state, state.state)
    np.testing.assert_array_equal(pixels.state, state.state[:, spec.state.indices(("joint0", "joint1"))])
    onfile = json.loads((tmp_path / fmt.INFO).read_text())["features"]
    assert onfile[fmt.STATE]["names"] == ["joint0", "joint1"]
    assert onfile[fmt.ENV_STATE]["names"] == ["env.cube0", "env.cube1"]
