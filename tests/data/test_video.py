from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scenes import make_spec

from robopolicy.core.errors import DatasetError
from robopolicy.core.spec import Image
from robopolicy.data import video
from robopolicy.data.stats import describe, describe_histogram, image_histogram
from robopolicy.data.writer import DatasetWriter

IMAGE = Image(height=48, width=64)
CODECS = [codec for codec in ("libsvtav1", "libx264") if codec in __import__("av").codecs_available]


def moving(length: int, *, seed: int = 0, image: Image = IMAGE) -> np.ndarray:
    """Smooth frames that differ from each other by more than a codec does."""
    y, x = np.mgrid[: image.height, : image.width]
    t = np.arange(length)[:, None, None]
    red, green = (60 + 9 * t + 0 * x) % 230, 100 + x + 0 * y + 0 * t
    return np.stack([red, green, 40 + y + 30 * seed + 0 * t], axis=1).astype(np.uint8)


def read(clips: list[video.Clip]) -> np.ndarray:
    out = np.empty((sum(clip.length for clip in clips), *IMAGE.shape), np.uint8)
    video.read_clips(clips, out, fps=30, image=IMAGE)
    return out


@pytest.mark.parametrize("codec", CODECS)
def test_encode_join_cut_and_decode(tmp_path: Path, codec: str) -> None:
    lengths, parts = (5, 1, 8), []
    for i, length in enumerate(lengths):
        parts.append((tmp_path / f"{i}.mp4", length))
        video.encode(parts[-1][0], moving(length, seed=i), fps=30, codec=codec)
    whole = tmp_path / "whole.mp4"
    video.join(parts, whole, fps=30)
    want = np.concatenate([moving(length, seed=i) for i, length in enumerate(lengths)])
    seen = read([video.Clip(path=whole, start=0, length=14)])
    assert np.abs(seen.astype(int) - want).max() <= 12
    assert np.abs(seen.astype(int) - want).mean() < 2
    assert video.frame_numbers(whole, fps=30).tolist() == list(range(14))
    assert video.probe(whole)["video.codec"] == {"libsvtav1": "av1", "libx264": "h264"}[codec]
    last = video.Clip(path=whole, start=6, length=8)
    assert video.cut(last, tmp_path / "cut.mp4", fps=30)
    np.testing.assert_array_equal(read([video.Clip(path=tmp_path / "cut.mp4", start=0, length=8)]), seen[6:])
    assert not video.cut(
        video.Clip(path=whole, start=7, length=2), tmp_path / "no.mp4", fps=30
    )  # no key frame
    assert not (tmp_path / "no.mp4").exists()
    backwards = read([last, video.Clip(path=whole, start=0, length=5)])
    np.testing.assert_array_equal(backwards, np.concatenate([seen[6:], seen[:5]]))


@pytest.mark.parametrize("size", [(16, 66), (600, 16), (16, 64), (32, 200), (17, 15)])
def test_the_encoder_is_one_that_takes_the_size(tmp_path: Path, size: tuple[int, int]) -> None:
    """libsvtav1 would wait for ever at the first two: what is chosen is looked at before it is used."""
    codec = video.codec_for(*size)
    assert codec == ("libx264" if min(size) < 32 and max(size) > 64 else CODECS[0])
    image = Image(height=size[0], width=size[1])
    video.encode(tmp_path / "v.mp4", moving(2, image=image), fps=30)
    seen = [frame for _, frame in video.decode(tmp_path / "v.mp4", fps=30, image=image)]
    assert np.abs(np.stack(seen).astype(int) - moving(2, image=image)).mean() < 4


@pytest.mark.parametrize(
    ("size", "codec"),
    [((4098, 64), None), ((17, 66), None), ((2, 2), "libsvtav1"), ((16, 66), "libsvtav1")],
)
def test_a_size_that_no_encoder_takes_is_refused(
    tmp_path: Path, size: tuple[int, int], codec: str | None
) -> None:
    with pytest.raises(
        DatasetError, match=f"pictures of {size[0]} x {size[1]} cannot be encoded with libsvt"
    ):
        video.codec_for(*size, codec)
    images = {"front": Image(height=size[0], width=size[1])}
    with pytest.raises(DatasetError, match="resize the camera's"):
        DatasetWriter(tmp_path / "d", spec=replace(make_spec(), images=images), codec=codec)
    assert not (tmp_path / "d").exists()


def test_a_missing_frame_a_wrong_size_and_a_wrong_length_are_named(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    video.encode(path, moving(4), fps=30)
    with pytest.raises(DatasetError, match="lacks frame 4"):
        read([video.Clip(path=path, start=2, length=4)])
    with pytest.raises(DatasetError, match="48 x 64, the dataset says 32 x 32"):
        list(video.decode(path, fps=30, image=Image(height=32, width=32)))
    with pytest.raises(DatasetError, match="4 frames, its episode has 5 steps"):
        video.join([(path, 5)], tmp_path / "joined.mp4", fps=30)
    with pytest.raises(DatasetError, match="codec 'theora'"):
        video.encode(path, moving(4), fps=30, codec="theora")


def test_a_full_disk_is_not_the_fault_of_a_video(tmp_path: Path) -> None:
    path, full = tmp_path / "v.mp4", Path("/dev/full")
    video.encode(path, moving(4), fps=30)
    with pytest.raises(OSError, match="No space left"):
        video.encode(full, moving(4), fps=30)
    with pytest.raises(OSError, match="No space left"):
        video.cut(video.Clip(path=path, start=0, length=4), full, fps=30)
    with pytest.raises(OSError, match="No space left"):
        video.join([(path, 4)], full, fps=30)


def test_a_cache_that_cannot_be_filled_is_not_there(tmp_path: Path) -> None:
    def fail(out: np.ndarray) -> None:
        out[0] = 1
        raise DatasetError("no")

    path = tmp_path / "frames.npy"
    with pytest.raises(DatasetError):
        video.frame_cache(path, (2, 3, 4, 4), fail)
    assert list(tmp_path.iterdir()) == []
    frames = video.frame_cache(path, (2, 3, 4, 4), lambda out: out.fill(7))
    assert (frames == 7).all()
    assert not frames.flags.writeable
    with pytest.raises(DatasetError, match="delete the file"):
        video.frame_cache(path, (3, 3, 4, 4), fail)


def test_the_histogram_describes_the_pixels() -> None:
    frames = np.random.default_rng(0).integers(30, 200, (6, 3, 8, 9)).astype(np.uint8)
    parts = image_histogram(frames[:2]) + image_histogram(frames[2:])
    seen = describe_histogram(parts, num_frames=6)
    want = describe(frames.transpose(0, 2, 3, 1).reshape(-1, 3) / 255)
    assert seen["count"] == [6]
    for name in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(seen[name][:, 0, 0], want[name])
    for name in ("q01", "q10", "q50", "q90", "q99"):  # a level of the image itself
        np.testing.assert_allclose(seen[name][:, 0, 0], want[name], atol=1.01 / 255)
