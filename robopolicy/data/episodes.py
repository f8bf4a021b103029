"""Where each episode is: the rows of `meta/episodes`, each checked as it is read, against the counts in
`info.json`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robopolicy.data import format as fmt
from robopolicy.data import video
from robopolicy.data.damage import CHECK, DamagedFileError, count, parsing

FOLDER = "meta/episodes"
MOST_RUNS = 12  # of episode indices, in one message
_MOST_LOST = 1 << 16  # episodes; where more are missing, it is the count that is wrong


@dataclass(frozen=True, kw_only=True)
class EpisodeRow:
    """Where an episode is.

    Args:
        index, length: its key, and how many steps it has.
        data: the file of its columns.
        clips: its frames by camera, of cameras that are videos.
        first: what `index`, the running number of steps, begins with; None where the dataset does not say.
    """

    index: int
    length: int
    data: Path
    clips: Mapping[str, video.Clip]
    first: int | None


def scan_rows(root: Path) -> tuple[list[dict[str, Any]], list[DamagedFileError]]:
    """The readable rows of `meta/episodes` without statistics, by episode index; and what is not readable.

    Every row has a whole `episode_index` and `length`; nothing else of it is vouched for.
    """
    rows: list[dict[str, Any]] = []
    damage: list[DamagedFileError] = []
    for path in sorted((root / FOLDER).glob("*/*.parquet")):
        try:
            table = fmt.read_table(path)
            with parsing(path):
                names = [name for name in table.column_names if not name.startswith("stats/")]
                found = table.select(names).to_pylist()
        except DamagedFileError as error:
            damage.append(error)
            continue
        for number, row in enumerate(found):
            try:
                with parsing(path):
                    count(row.get("episode_index"), f"episode_index of row {number}")
                    count(row.get("length"), f"length of row {number}", least=1)
                rows.append(row)
            except DamagedFileError as error:
                damage.append(error)
    return sorted(rows, key=lambda row: row["episode_index"]), damage


def read_rows(root: Path) -> list[dict[str, Any]]:
    """The rows of `meta/episodes` without statistics, by episode index.

    Raises:
        DamagedFileError: not all of them can be read.
    """
    rows, damage = scan_rows(root)
    if damage:
        raise damage[0]
    return rows


def episode_row(root: Path, info: Mapping[str, Any], row: Mapping[str, Any]) -> EpisodeRow:
    """What a row says, understood.

    Raises:
        DamagedFileError: it does not say where the episode is.
    """
    cameras = fmt.cameras_of(info["features"])
    with parsing(root / FOLDER, CHECK):
        length, clips = row["length"], {}
        for name, key in cameras.items():
            if info["features"][key]["dtype"] == "video":
                path = fmt.resolve(root, info["video_path"], video_key=key, **_file(row, f"videos/{key}"))
                start = count(round(row[f"videos/{key}/from_timestamp"] * info["fps"]), "the first frame")
                clips[name] = video.Clip(path=path, start=start, length=length)
        first = row.get("dataset_from_index")
        return EpisodeRow(
            index=row["episode_index"],
            length=length,
            data=fmt.resolve(root, info["data_path"], **_file(row, "data")),
            clips=clips,
            first=None if first is None else count(first, "dataset_from_index"),
        )


def _file(row: Mapping[str, Any], key: str) -> dict[str, int]:
    return {name: count(row[f"{key}/{name}"], f"{key}/{name}") for name in ("chunk_index", "file_index")}


def count_problems(info: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How `info.json` and `meta/episodes` contradict each other."""
    problems = []
    indices = [row["episode_index"] for row in rows]
    if len(indices) != info["total_episodes"] or indices != list(range(len(indices))):
        problems.append(f"total_episodes is {info['total_episodes']}, but {FOLDER} has {span(indices)}")
    frames = sum(row["length"] for row in rows)
    if frames != info["total_frames"]:
        problems.append(
            f"total_frames is {info['total_frames']}, but the episodes of {FOLDER} sum to {frames}"
        )
    return problems


def lost_episodes(info: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Episodes that `info.json` counts and `meta/episodes` does not have.

    None where the frames that it counts leave no room for them: then the count is wrong, no episode is lost.
    """
    total = info["total_episodes"]
    have = {row["episode_index"] for row in rows if row["episode_index"] < total}
    missing = total - len(have)
    room = info["total_frames"] - sum(row["length"] for row in rows)
    return sorted(set(range(total)) - have) if missing <= min(room, _MOST_LOST) else []


def require_counts(
    root: Path,
    info: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    damage: Sequence[DamagedFileError],
    aside: Collection[int],
) -> None:
    """Refuse a dataset whose files contradict each other, but for the quarantined episodes `aside`.

    Raises:
        DamagedFileError: names the file; of `damage` (see `scan_rows`) where that explains it.
    """
    problems = count_problems(info, rows)
    if aside:
        known = {row["episode_index"] for row in rows} | set(aside)
        problems = [] if len(known) == info["total_episodes"] else problems[:1]
    if problems or (damage and not aside):
        raise damage[0] if damage else DamagedFileError(root / fmt.INFO, "; ".join(problems), CHECK)


def span(indices: Collection[int]) -> str:
    """Episode indices in a few words: `episodes 0 to 4, 7`."""
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], index
        else:
            runs.append((index, index))
    said = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in runs[:MOST_RUNS])
    more = f" ... {len(indices)} in all" if len(runs) > MOST_RUNS else ""
    return f"episode{'s' * (len(indices) > 1)} {said}{more}" if indices else "no episodes"
