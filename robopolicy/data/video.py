"""Camera frames in mp4 files: encode, cut, join, decode, and a cache of raw frames for training.

Encoding follows LeRobotDataset v3: AV1 (H.264 where the build lacks it, or the pictures are too narrow),
yuv420p, a key frame every second frame, so that any frame is cheap to reach. Frames are found by their time
stamp, never by counting packets. Cutting and joining copy packets, so a merge loses no quality.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from robopolicy.core.errors import DatasetError
from robopolicy.core.files import replacing, writing
from robopolicy.core.spec import Image
from robopolicy.data.damage import CHECK, DamagedFileError

MAX_SIDE = 4096  # pixels; larger pictures are refused before anything is encoded or decoded
_CODECS = {
    "libsvtav1": {"g": "2", "crf": "30", "preset": "12"},
    "libx264": {"g": "2", "crf": "23", "bf": "0", "preset": "fast"},
}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_REORDERED = 32  # frames by which packets may be out of order, where a video has frames that look ahead
_NAMES = {"libsvtav1": "av1", "libx264": "h264", "libdav1d": "av1"}


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Where the frames of one episode are: `length` frames of `path` from frame number `start`."""

    path: Path
    start: int
    length: int


def codec_for(height: int, width: int, codec: str | None = None) -> str:
    """The encoder of pictures of this size: `codec`, or AV1 where that is there and takes them, else H.264.

    Raises:
        DatasetError: no such encoder is there, or none takes the size.
    """
    there = [name for name in _CODECS if name in av.codecs_available]
    if codec is not None and codec not in there:
        raise DatasetError(f"video codec '{codec}' is not one of {there}")
    tried = there if codec is None else [codec]
    for name in tried:
        if _takes(name, height, width):
            return name
    raise DatasetError(
        f"pictures of {height} x {width} cannot be encoded with {' or '.join(tried)}; resize the camera's to "
        f"even sides of 32 to {MAX_SIDE} pixels"
    )


def _takes(codec: str, height: int, width: int) -> bool:
    short, long = min(height, width), max(height, width)
    if not _is_allowed(height, width):
        return False
    if codec == "libx264":  # yuv420p keeps one colour for 2 x 2 pixels
        return height % 2 == width % 2 == 0
    # with several threads libsvtav1 4.1 never comes back from the first picture whose longer side is above
    # 64 pixels, one of its blocks, and whose shorter side is less than 26
    return short >= 4 and (short >= 32 or long <= 64)


def _is_allowed(height: int, width: int) -> bool:
    return max(height, width) <= MAX_SIDE


def encode(path: Path, frames: np.ndarray, *, fps: int, codec: str | None = None) -> None:
    """Write `frames [L C h w]` uint8 RGB to `path`.

    Raises:
        DatasetError: no encoder takes the size (see `codec_for`).
        OSError: the disk is full.
    """
    height, width = frames.shape[2:]
    codec = codec_for(height, width, codec)
    os.environ.setdefault("SVT_LOG", "1")  # errors only; the encoder else prints its settings for each video
    with _reported(path), av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=fps, options=_CODECS[codec])
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuv420p"
        for frame in frames.transpose(0, 2, 3, 1):
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode())


def signature(path: Path) -> tuple[object, ...]:
    """What two files must share to be joined: codec, its header, pixel format and size."""
    with _opened(path) as (_, stream):
        context = stream.codec_context
        return context.name, context.extradata, stream.pix_fmt, stream.height, stream.width


def probe(path: Path) -> dict[str, object]:
    """What LeRobot keeps of a video in `info.json`."""
    with _opened(path) as (container, stream):
        name = stream.codec_context.name
        return {
            "video.height": stream.height,
            "video.width": stream.width,
            "video.codec": _NAMES.get(name, name),
            "video.pix_fmt": str(stream.pix_fmt),
            "video.is_depth_map": False,
            "video.fps": int(stream.average_rate or 0),
            "video.channels": 3,
            "has_audio": bool(container.streams.audio),
        }


def decode(path: Path, *, fps: float, image: Image, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """The frames of a file in order, as (frame number on the clock of `fps`, `[C h w]` uint8).

    They begin with the key frame at or before frame `start`.

    Raises:
        DamagedFileError: the file cannot be decoded, or its frames do not have the dataset's size.
    """
    with _opened(path) as (container, stream):
        size = stream.height, stream.width
        if size != (image.height, image.width) or not _is_allowed(*size):
            raise DamagedFileError(
                path,
                f"has frames of {stream.height} x {stream.width}, the dataset says {image.height} x "
                f"{image.width} (at most {MAX_SIDE})",
                "restore the file or mend meta/info.json",
            )
        _seek(container, stream, start, fps)
        for frame in container.decode(stream):
            if (frame.height, frame.width) != (image.height, image.width):
                raise DamagedFileError(path, "changes its frame size on the way")
            yield _number(frame.pts, stream, fps), frame.to_ndarray(format="rgb24").transpose(2, 0, 1)


def frame_numbers(path: Path, *, fps: float) -> np.ndarray:
    """The numbers of the frames that a file holds, `[F]` int64 in order, from its packets, not decoded."""
    with _opened(path) as (container, stream):
        numbers = {_number(p.pts, stream, fps) for p in container.demux(stream) if p.pts is not None}
        return np.array(sorted(numbers), dtype=np.int64)


def cut(clip: Clip, path: Path, *, fps: float) -> bool:
    """Copy a clip to a file of its own without encoding it again.

    Returns False, with nothing written, where the clip does not begin with a key frame or lacks a frame.
    """
    packets: list[av.Packet] = []
    with _opened(clip.path) as (container, stream):
        _seek(container, stream, clip.start, fps)
        for packet in container.demux(stream):
            number = _number(packet.pts, stream, fps)
            if packet.pts is None or number >= clip.start + clip.length + _REORDERED:
                break
            if 0 <= number - clip.start < clip.length:
                packets.append(packet)
        in_order = all(packet.pts == packet.dts for packet in packets)
        if len(packets) != clip.length or not packets[0].is_keyframe or not in_order:
            return False
        with av.open(str(path), "w", format="mp4") as out:
            target = out.add_stream_from_template(stream, opaque=True)
            _copy(out, target, packets, at=0, stream=stream, fps=fps)
    return True


def join(sources: Sequence[tuple[Path, int]], path: Path, *, fps: int) -> None:
    """Join files, given with their numbers of frames, into one without encoding them again.

    Raises:
        DamagedFileError: a source cannot be read, or has another number of frames.
        OSError: the disk is full.
    """
    out: OutputContainer | None = None
    target: VideoStream | None = None
    at = 0
    try:
        for source, length in sources:
            with _opened(source) as (container, stream):
                if out is None or target is None:
                    out = av.open(str(path), "w", format="mp4")
                    target = out.add_stream_from_template(stream, opaque=True)
                packets = (packet for packet in container.demux(stream) if packet.pts is not None)
                copied = _copy(out, target, packets, at=at, stream=stream, fps=fps)
                if copied != length:
                    raise DamagedFileError(source, f"has {copied} frames, its episode has {length} steps")
                at += length
    finally:
        if out is not None:
            with _reported(path):
                out.close()


def _copy(
    out: OutputContainer,
    target: VideoStream,
    packets: Iterable[av.Packet],
    *,
    at: int,
    stream: VideoStream,
    fps: float,
) -> int:
    """Write packets so that the first one becomes frame `at`; returns how many there were."""
    first, count = None, 0
    ticks = Fraction(1) / (Fraction(fps).limit_denominator(1001) * _base(stream))
    for packet in packets:
        assert packet.pts is not None
        first = packet.pts if first is None else first
        packet.pts = packet.pts - first + round(at * ticks)
        packet.dts = packet.pts
        packet.stream = target
        out.mux(packet)
        count += 1
    return count


def read_clips(clips: Sequence[Clip], out: np.ndarray, *, fps: float, image: Image) -> None:
    """Decode clips one after the other into `out [F C h w]`; nothing is decoded but what they need.

    Raises:
        DamagedFileError: names the file and the number of the first missing frame.
    """
    row = np.cumsum([0, *(clip.length for clip in clips)]).tolist()
    placed = sorted(zip(clips, row, strict=False), key=lambda pair: (pair[0].path, pair[0].start))
    runs: list[list[tuple[Clip, int]]] = []
    end = 0
    for clip, at in placed:  # clips that follow one another are decoded in one go
        if not runs or runs[-1][0][0].path != clip.path or clip.start > end:
            runs.append([])
            end = 0
        runs[-1].append((clip, at))
        end = max(end, clip.start + clip.length)
    for run in runs:
        _read_run(run, out, fps=fps, image=image)


def _read_run(run: Sequence[tuple[Clip, int]], out: np.ndarray, *, fps: float, image: Image) -> None:
    path, start = run[0][0].path, run[0][0].start
    end = max(clip.start + clip.length for clip, _ in run)
    target = np.full(end - start, -1, dtype=np.int64)
    for clip, at in run:
        target[clip.start - start : clip.start - start + clip.length] = np.arange(at, at + clip.length)
    for number, frame in decode(path, fps=fps, image=image, start=start):
        if number >= end:
            break
        if number >= start and target[number - start] >= 0:
            out[target[number - start]] = frame
            target[number - start] = -1
    left = np.flatnonzero(target >= 0)
    if len(left):
        problem = f"lacks frame {start + left[0]} ({len(left)} frames are missing of {end - start})"
        raise DamagedFileError(path, problem, f"restore the file, or {CHECK}")


def frame_cache(path: Path, shape: tuple[int, ...], fill: Callable[[np.ndarray], None]) -> np.ndarray:
    """Raw frames as a read-only memory map `[F C h w]` uint8, made by `fill` once.

    The file appears under its name only when it is complete. The name should hold a fingerprint of its
    source, so that a changed video gets a new cache.

    Raises:
        UserError: the disk is full.
        DamagedFileError: the file there is damaged.
    """
    if not path.exists():
        with writing(path.parent), replacing(path) as aside:
            frames = _allocate(aside, shape)
            fill(frames)
            frames.flush()
    try:
        cached = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise DamagedFileError(path, f"the frame cache is damaged ({error})", "delete the file") from error
    if cached.shape != shape or cached.dtype != np.uint8:
        problem = f"the frame cache holds {cached.shape}, not {shape}"
        raise DamagedFileError(path, problem, "delete the file")
    return cached


def _allocate(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A writable map whose disk blocks exist: a full disk is an error here, not a signal while writing."""
    frames = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return frames


def _seek(container: InputContainer, stream: VideoStream, number: int, fps: float) -> None:
    """Go to the key frame at or before frame `number`; to the beginning where the index leads elsewhere."""
    if number <= 0:
        return
    at = int(number / (Fraction(fps).limit_denominator(1001) * _base(stream)))
    container.seek(at, stream=stream)
    packet = next(container.demux(stream), None)
    before = packet is not None and packet.pts is not None and _number(packet.pts, stream, fps) <= number
    container.seek(at if before else 0, stream=stream)


def _number(pts: int | None, stream: VideoStream, fps: float) -> int:
    return -1 if pts is None else round(float(pts * _base(stream)) * fps)


def _base(stream: VideoStream) -> Fraction:
    return Fraction(stream.time_base or Fraction(1, 1))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its first video stream."""
    with _reported(path), av.open(str(path)) as container:
        if not container.streams.video:
            raise DamagedFileError(path, "holds no video")
        yield container, container.streams.video[0]


@contextlib.contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn what FFmpeg says into an error that names the file; a full disk is no fault of a file."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        if error.errno in _FULL:
            raise
        raise DamagedFileError(path, f"the video cannot be read or written ({error})") from error
