"""Proves both directions against a real lerobot 0.4.4, video included: `make interop`.

1. We write the recording of `scene.py`, in two sessions, as AV1 and as H.264; lerobot reads it with each
   of its video decoders, checks every value, and one of its policies takes a training step on it.
2. lerobot goes on recording into what we wrote, then we do; both read the result.
3. lerobot writes the recording in one AV1 file a camera, in many H.264 files, and as images; we read
   each.

lerobot lives in an environment of its own (see `lerobot_venv.py`) and nothing of it is replaced by a
stand-in.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import lerobot_venv
import numpy as np
import scene

from robopolicy.core.spec import ActionSemantics, Image, Spec, Vector
from robopolicy.core.types import Episode
from robopolicy.data.lerobot import open_dataset
from robopolicy.data.writer import DatasetWriter

EVERYTHING = tuple(range(len(scene.EPISODES)))
SPEC = Spec(
    state=Vector.of({name: (-np.inf, np.inf, "1") for name in scene.ROBOT + scene.WORLD}),
    action=Vector.of({name: (-np.inf, np.inf, "1") for name in scene.ACTION}),
    control_hz=scene.FPS,
    semantics=ActionSemantics(),
    images={name: Image(height=h, width=w) for name, (h, w) in scene.CAMERAS.items()},
    text=True,
)


def episode(number: int) -> Episode:
    return Episode(
        state=np.concatenate([scene.robot_state(number), scene.world_state(number)], axis=1),
        action=scene.action(number),
        reward=scene.reward(number),
        terminated=scene.success(number),
        success=scene.success(number),
        text=scene.task(number),
        images={name: scene.frames(number, name) for name in scene.CAMERAS},
        source=("expert",) * scene.length(number),
        seed=number,
    )


def write(root: Path, episodes: tuple[int, ...], codec: str | None = None) -> None:
    with DatasetWriter(root, spec=SPEC, robot_type=scene.ROBOT_TYPE, codec=codec) as writer:
        for number in episodes:
            writer.append(episode(number))


def read(root: Path, episodes: tuple[int, ...]) -> None:
    """Refuse unless the dataset holds these episodes of the scene."""
    dataset = open_dataset(root)
    store = dataset.load(observe="all")
    assert (dataset.fps, dataset.num_episodes) == (scene.FPS, len(episodes)), dataset
    assert store.spec.state.names == scene.ROBOT + scene.WORLD, store.spec.state.names
    assert store.spec.action.names == scene.ACTION, store.spec.action.names
    for at, number in enumerate(episodes):
        seen, want = store.episode(at), episode(number)
        np.testing.assert_array_equal(seen.state, want.state)
        np.testing.assert_array_equal(seen.action, want.action)
        np.testing.assert_array_equal(seen.reward, want.reward)
        assert (seen.text, seen.success) == (want.text, want.success), (number, seen.text, seen.success)
        for camera in scene.CAMERAS:
            scene.check_frames(seen.images[camera], number, camera)


def lerobot(command: str, root: Path, episodes: tuple[int, ...]) -> None:
    """Run its side; all that it says is shown when it fails."""
    script = Path(__file__).with_name("theirs.py")
    done = subprocess.run(
        [lerobot_venv.make(), script, command, root, *map(str, episodes)],
        env=lerobot_venv.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = done.stdout.splitlines()
    print(
        "\n".join(lines if done.returncode else [line for line in lines if line.startswith("  ")]), flush=True
    )
    if done.returncode:
        sys.exit(f"interop: lerobot's `{command}` failed on {root.name}")


def main() -> None:
    lerobot_venv.make()
    with TemporaryDirectory() as folder:
        for codec in ("libsvtav1", "libx264"):
            ours = Path(folder, f"ours_{codec}")
            write(ours, EVERYTHING[:2], codec)
            write(ours, EVERYTHING[2:], codec)
            read(ours, EVERYTHING)
            lerobot("read", ours, EVERYTHING)

        grown = Path(folder, "ours_libsvtav1")
        lerobot("append", grown, (1,))
        read(grown, (*EVERYTHING, 1))
        print("  we read what it added")
        write(grown, (2,))
        read(grown, (*EVERYTHING, 1, 2))
        lerobot("read", grown, (*EVERYTHING, 1, 2))

        theirs = Path(folder, "theirs")
        lerobot("write", theirs, EVERYTHING)
        for kind in sorted(theirs.iterdir()):
            read(kind, EVERYTHING)
            print(f"  we read '{kind.name}'")
    print("interop: both directions hold")


if __name__ == "__main__":
    main()
