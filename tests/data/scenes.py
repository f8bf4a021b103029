"""Random episodes and specs for the tests of the data room."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from robopolicy.core.spec import Image, Spec, Vector
from robopolicy.core.types import Episode


def vector(prefix: str, size: int) -> Vector:
    return Vector.of({f"{prefix}{i}": (-100.0, np.inf, "rad") for i in range(size)})


def make_spec(
    *, state: int = 3, action: int = 2, env: int = 0, cameras: tuple[str, ...] = (), hz: float = 30
) -> Spec:
    names = {f"joint{i}": (-1.0, np.inf, "rad") for i in range(state)}
    world = {f"env.cube{i}": (-np.inf, np.inf, "m") for i in range(env)}
    mixed = dict(sorted((names | world).items(), key=lambda item: item[0][-1]))  # env and robot interleave
    images = {name: Image(height=32, width=48) for name in cameras}
    return Spec(state=Vector.of(mixed), action=vector("a", action), control_hz=hz, images=images, text=True)


def make_episode(
    spec: Spec,
    length: int,
    *,
    seed: int = 0,
    terminated: bool = False,
    text: str = "",
    columns: dict[str, np.ndarray] | None = None,
) -> Episode:
    random = np.random.default_rng(seed)
    frames = {}
    for name, image in spec.images.items():
        ramp = np.linspace(20, 200, image.width)[None, None, None] * np.ones((length, *image.shape))
        ramp[:, 0] = (40 + 9 * np.arange(length)[:, None, None] + 17 * seed) % 230
        frames[name] = ramp.astype(np.uint8)
    return Episode(
        state=random.standard_normal((length, len(spec.state))).astype(np.float32),
        action=random.standard_normal((length, len(spec.action))).astype(np.float32),
        reward=random.standard_normal(length).astype(np.float32),
        terminated=terminated,
        success=terminated,
        text=text,
        images=frames,
        source=tuple(("policy", "human", "expert")[i] for i in random.integers(3, size=length)),
        columns=columns or {},
        seed=seed,
    )


def assert_same(seen: Episode, want: Episode) -> None:
    """Equal in everything but the pictures, which are compared by what video does to a colour."""
    for name in ("state", "action", "reward"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(want, name), err_msg=name)
    for name in ("terminated", "success", "text", "source", "seed"):
        assert getattr(seen, name) == getattr(want, name), name
    assert seen.columns.keys() == want.columns.keys()
    for name, column in want.columns.items():
        np.testing.assert_array_equal(seen.columns[name], column, err_msg=name)
        assert seen.columns[name].dtype == column.dtype
    assert seen.images.keys() == want.images.keys()
    for name, frames in want.images.items():
        assert seen.images[name].shape == frames.shape
        assert np.abs(seen.images[name].astype(int) - frames).mean() < 4, name


@st.composite
def episodes(draw: st.DrawFn, spec: Spec, *, max_length: int = 9) -> list[Episode]:
    lengths = draw(st.lists(st.integers(1, max_length), min_size=1, max_size=5))
    ends = draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    return [
        make_episode(spec, length, seed=i, terminated=end)
        for i, (length, end) in enumerate(zip(lengths, ends, strict=True))
    ]
