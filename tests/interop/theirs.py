"""lerobot's side of the proof; runs inside the interop environment, without robopolicy.

    theirs.py read DATASET EPISODE...      with each video backend; then a lerobot policy trains on it
    theirs.py append DATASET EPISODE...    lerobot goes on recording into a dataset that we wrote
    theirs.py write FOLDER EPISODE...      one dataset of each kind, for our reader

The episodes are those of the scene, in the order in which the dataset has or gets them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import scene
import torch
from lerobot.configs.types import FeatureType
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.datasets.utils import dataset_to_policy_features
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.factory import make_pre_post_processors

REPO = "local/interop"  # a name only: nothing is fetched
STATS = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}
COLUMNS = {
    "observation.state": scene.robot_state,
    "observation.environment_state": scene.world_state,
    "action": scene.action,
    "next.reward": scene.reward,
}


def same(seen: object, want: object, what: str) -> None:
    np.testing.assert_array_equal(np.asarray(seen), np.asarray(want), err_msg=what)


def video_backends() -> list[str]:
    try:
        import torchcodec  # noqa: F401
    except (ImportError, RuntimeError) as error:  # it looks for the FFmpeg libraries when it is imported
        print(f"  not tested: video_backend=torchcodec ({str(error).splitlines()[0]})")
        return ["pyav"]
    return ["pyav", "torchcodec"]


def check_items(dataset: LeRobotDataset, episodes: dict[int, int]) -> None:
    """Each item, in order; `episodes` maps the dataset's episodes to the scene's."""
    row = 0
    for at, episode in episodes.items():
        for frame in range(scene.length(episode)):
            item = dataset[row]
            for name, values in COLUMNS.items():
                same(item[name], values(episode)[frame], f"{name} of episode {episode}, frame {frame}")
            same(item["episode_index"], at, "episode_index")
            same(item["frame_index"], frame, "frame_index")
            same(item["timestamp"], np.float32(frame / scene.FPS), "timestamp")
            same(item["next.done"], frame == scene.length(episode) - 1, "next.done")
            assert item["task"] == scene.task(episode), item["task"]
            for camera in scene.CAMERAS:
                seen = item[f"observation.images.{camera}"].numpy() * 255
                scene.check_frames(seen, episode, camera, slice(frame, frame + 1))
            row += 1
    assert row == len(dataset), f"{len(dataset)} items, {row} were written"


def check_meta(dataset: LeRobotDataset, episodes: list[int]) -> None:
    meta = dataset.meta
    assert meta.fps == scene.FPS, meta.fps
    assert meta.robot_type == scene.ROBOT_TYPE, meta.robot_type
    assert sorted(meta.video_keys) == [f"observation.images.{name}" for name in sorted(scene.CAMERAS)]
    assert tuple(meta.features["observation.state"]["names"]) == scene.ROBOT
    assert tuple(meta.features["action"]["names"]) == scene.ACTION
    assert set(meta.tasks.index) == {scene.task(episode) for episode in episodes}
    assert list(meta.tasks["task_index"]) == list(range(len(meta.tasks)))  # it goes by the place of the row
    stop = 0
    for at, episode in enumerate(episodes):
        row, length = meta.episodes[at], scene.length(episode)
        assert (row["dataset_from_index"], row["dataset_to_index"]) == (stop, stop + length), row
        assert (row["length"], row["tasks"]) == (length, [scene.task(episode)]), row
        stop += length
    assert meta.total_frames == stop


def check_stats(dataset: LeRobotDataset, episodes: list[int]) -> None:
    for name, values in COLUMNS.items():
        stats = dataset.meta.stats[name]
        assert set(stats) == STATS, f"{name}: {sorted(stats)}"
        every = np.concatenate([values(episode) for episode in episodes]).astype(np.float64)
        for key, want in (("mean", every.mean(0)), ("std", every.std(0)), ("min", every.min(0))):
            np.testing.assert_allclose(stats[key], np.atleast_1d(want), rtol=1e-4, err_msg=f"{name} {key}")
        # lerobot's own quantiles come from a histogram of 5,000 bins
        near = np.ptp(every, axis=0).max() * 0.03
        want = np.atleast_1d(np.quantile(every, 0.9, axis=0))
        np.testing.assert_allclose(stats["q90"], want, atol=near, err_msg=f"{name} q90")
        same(stats["count"], [len(every)], f"{name} count")
    for camera in scene.CAMERAS:
        stats = dataset.meta.stats[f"observation.images.{camera}"]
        assert set(stats) == STATS, f"{camera}: {sorted(stats)}"
        want = np.concatenate([scene.frames(episode, camera) for episode in episodes]).mean((0, 2, 3)) / 255
        assert stats["mean"].shape == (3, 1, 1), stats["mean"].shape
        np.testing.assert_allclose(stats["mean"][:, 0, 0], want, atol=0.05, err_msg=f"{camera} mean")


def check_deltas(root: Path, backend: str, episodes: list[int]) -> None:
    """A window that reaches over both ends of an episode: values repeat, `is_pad` says where."""
    offsets = (-2, 0, 1)
    seconds = [offset / scene.FPS for offset in offsets]
    names = ("observation.state", "action", "observation.images.front")
    dataset = LeRobotDataset(
        REPO, root=root, video_backend=backend, delta_timestamps={name: seconds for name in names}
    )
    row = 0
    for episode in episodes:
        length = scene.length(episode)
        for frame in range(length):
            item = dataset[row]
            at = np.clip(frame + np.array(offsets), 0, length - 1)
            same(item["observation.state"], scene.robot_state(episode)[at], "state window")
            same(item["action"], scene.action(episode)[at], "action window")
            same(item["action_is_pad"], at != frame + np.array(offsets), "action_is_pad")
            scene.check_frames(item["observation.images.front"].numpy() * 255, episode, "front", at)
            row += 1


def check_training(root: Path, backend: str) -> None:
    """A lerobot policy builds from the dataset's features, normalises with its stats and takes a step."""
    chunk = 4
    dataset = LeRobotDataset(
        REPO,
        root=root,
        video_backend=backend,
        delta_timestamps={"action": [step / scene.FPS for step in range(chunk)]},
    )
    features = dataset_to_policy_features(dataset.features)
    config = ACTConfig(
        input_features={  # its policies want all cameras of one size
            name: feature
            for name, feature in features.items()
            if feature.type in (FeatureType.STATE, FeatureType.ENV) or name == "observation.images.front"
        },
        output_features={"action": features["action"]},
        chunk_size=chunk,
        n_action_steps=chunk,
        dim_model=32,
        n_heads=2,
        dim_feedforward=32,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
        pretrained_backbone_weights=None,
        device="cpu",
    )
    policy = ACTPolicy(config)
    before, after = make_pre_post_processors(config, dataset_stats=dataset.meta.stats)
    batch = next(iter(torch.utils.data.DataLoader(dataset, batch_size=8, shuffle=True)))
    loss, _ = policy.forward(before(batch))
    loss.backward()
    assert torch.isfinite(loss), loss
    acted = after(policy.select_action(before(batch)))
    assert acted.shape == (8, len(scene.ACTION)), acted.shape


def read(root: Path, episodes: list[int]) -> None:
    for backend in video_backends():
        dataset = LeRobotDataset(REPO, root=root, video_backend=backend)
        everything = dict(enumerate(episodes))
        check_meta(dataset, episodes)
        check_stats(dataset, episodes)
        check_items(dataset, everything)
        some = {at: everything[at] for at in (1, len(episodes) - 1)}
        check_items(LeRobotDataset(REPO, root=root, video_backend=backend, episodes=list(some)), some)
        check_deltas(root, backend, episodes)
        check_training(root, backend)
        print(f"  lerobot reads '{root.name}' by {backend}: items, meta, stats, windows, a training step")


def features(video: bool) -> dict[str, dict]:
    def vector(names: tuple[str, ...]) -> dict:
        return {"dtype": "float32", "shape": (len(names),), "names": list(names)}

    return {
        "observation.state": vector(scene.ROBOT),
        "observation.environment_state": vector(scene.WORLD),
        "action": vector(scene.ACTION),
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
        "next.done": {"dtype": "bool", "shape": (1,), "names": None},
        "next.success": {"dtype": "bool", "shape": (1,), "names": None},
    } | {
        f"observation.images.{name}": {
            "dtype": "video" if video else "image",
            "shape": (height, width, 3),
            "names": ["height", "width", "channels"],
        }
        for name, (height, width) in scene.CAMERAS.items()
    }


def record(dataset: LeRobotDataset, episode: int) -> None:
    """One episode of the scene, with whatever further columns the dataset has left at zero."""
    for frame in range(scene.length(episode)):
        last = frame == scene.length(episode) - 1
        item: dict = {name: np.atleast_1d(values(episode)[frame]) for name, values in COLUMNS.items()}
        item["next.done"] = np.array([last])
        item["next.success"] = np.array([last and scene.success(episode)])
        for camera in scene.CAMERAS:
            item[f"observation.images.{camera}"] = scene.frames(episode, camera)[frame].transpose(1, 2, 0)
        own = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
        for name in dataset.features.keys() - item.keys() - own:
            feature = dataset.features[name]
            item[name] = (
                "" if feature["dtype"] == "string" else np.zeros(feature["shape"], dtype=feature["dtype"])
            )
        dataset.add_frame(item | {"task": scene.task(episode)})
    dataset.save_episode()


def append(root: Path, episodes: list[int]) -> None:
    dataset = LeRobotDataset(REPO, root=root, video_backend="pyav")
    dataset.episode_buffer = dataset.create_episode_buffer()
    for episode in episodes:
        record(dataset, episode)
    dataset.finalize()
    print(f"  lerobot goes on recording into '{root.name}'")


def write(folder: Path, episodes: list[int]) -> None:
    kinds = {
        "one_file": {"vcodec": "libsvtav1"},
        "many_files": {"vcodec": "h264"},
        "images": {"use_videos": False},
    }
    for kind, options in kinds.items():
        dataset = LeRobotDataset.create(
            REPO,
            fps=scene.FPS,
            features=features(video=kind != "images"),
            root=folder / kind,
            robot_type=scene.ROBOT_TYPE,
            video_backend="pyav",
            **options,
        )
        if kind == "many_files":  # a file for each episode, two files to a folder
            dataset.meta.update_chunk_settings(
                chunks_size=2, data_files_size_in_mb=1e-6, video_files_size_in_mb=1e-6
            )
        for episode in episodes:
            record(dataset, episode)
        dataset.finalize()
        print(f"  lerobot wrote '{kind}'")


if __name__ == "__main__":
    {"read": read, "append": append, "write": write}[sys.argv[1]](
        Path(sys.argv[2]), [int(e) for e in sys.argv[3:]]
    )
