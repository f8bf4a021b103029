"""Tiny files in the layouts of other projects, written with the libraries that those write with."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numcodecs
import numpy as np
import zarr

ENV_ARGS = {
    "env_name": "Lift",
    "env_version": "1.4.1",
    "type": 1,
    "env_kwargs": {
        "control_freq": 20,
        "robots": ["Panda"],
        "reward_shaping": False,
        "controller_configs": {"type": "OSC_POSE", "control_delta": True, "kp": 150},
    },
}
DEMOS = {"demo_0": 4, "demo_2": 3, "demo_10": 5}  # of these, demo_2 fails


def pictures(length: int, *, seed: int = 0, side: int = 32) -> np.ndarray:
    """`[L h w 3]` uint8 that a video keeps well."""
    ramp = np.linspace(20, 200, side)[None, None, :, None] * np.ones((length, side, side, 3))
    ramp[..., 0] = ((40 + 9 * np.arange(length) + 17 * seed) % 230)[:, None, None]
    return ramp.astype(np.uint8)


def write_robomimic(path: Path, *, env_args: Mapping[str, Any] = ENV_ARGS, demos: Mapping = DEMOS) -> None:
    """As robomimic's `dataset_states_to_obs --done_mode 2 --compress` does, with one camera and its depth."""
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for number, (name, length) in enumerate(demos.items()):
            demo = data.create_group(name)
            reward = (np.arange(length) >= length - 2) * float(name != "demo_2")
            observed = {
                "object": random.standard_normal((length, 10)),
                "robot0_eef_pos": random.standard_normal((length, 3)),
                "agentview_image": pictures(length, seed=number),
                "agentview_depth": random.random((length, 84, 84, 1)).astype(np.float32),
            }
            demo.create_dataset("actions", data=random.uniform(-1, 1, (length, 7)))
            demo.create_dataset("states", data=random.standard_normal((length, 32)))
            demo.create_dataset("rewards", data=reward)
            last = np.arange(length) == length - 1
            demo.create_dataset("dones", data=np.maximum(reward, last).astype(np.int64))
            for key, values in observed.items():
                demo.create_dataset(f"obs/{key}", data=values, compression="gzip")
                demo.create_dataset(f"next_obs/{key}", data=values, compression="gzip")
            demo.attrs["model_file"] = "<mujoco/>"
            demo.attrs["num_samples"] = length
        file.create_dataset("mask/train", data=np.array([b"demo_0", b"demo_10"]))
        data.attrs["total"] = sum(demos.values())
        data.attrs["env_args"] = json.dumps(env_args, indent=4)


def replay_arrays(rows: int = 9) -> dict[str, np.ndarray]:
    """What Diffusion Policy's PushT set holds; its pictures are floats."""
    random = np.random.default_rng(0)
    return {
        "state": random.standard_normal((rows, 5)).astype(np.float32),
        "action": random.standard_normal((rows, 2)).astype(np.float32),
        "keypoint": random.standard_normal((rows, 9, 2)).astype(np.float32),
        "img": pictures(rows).astype(np.float32),
    }


def write_replay(
    path: Path, arrays: Mapping[str, np.ndarray], ends: np.ndarray, *, zarr_format: Any = 2
) -> None:
    """As Diffusion Policy's `ReplayBuffer.save_to_path` does: chunks along time, ends in one plain chunk."""
    zipped = path.suffix == ".zip"
    store = zarr.storage.ZipStore(path, mode="w") if zipped else zarr.storage.LocalStore(path)
    compressor = numcodecs.Blosc("zstd", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE)
    with contextlib.closing(store):
        root = zarr.create_group(store, zarr_format=zarr_format)
        data, meta = root.create_group("data"), root.create_group("meta")
        for name, values in arrays.items():
            chunks = (4, *values.shape[1:])
            compressors: Any = compressor if zarr_format == 2 else "auto"
            data.create_array(name, data=values, chunks=chunks, compressors=compressors)
        meta.create_array("episode_ends", data=ends, chunks=ends.shape, compressors=None)
