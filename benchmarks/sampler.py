"""Time per transition of the state sampler, in steady state: `python -m benchmarks.sampler`.

A transition is one sampled row with its chunk of 16 actions, observation, reward, discount and next
observation, out of 1,000,000 control steps in memory; batch 256; one thread.
"""

from __future__ import annotations

import time

import numpy as np

from robopolicy.core.spec import Spec, Vector
from robopolicy.core.types import Window
from robopolicy.data.sampler import Sampler
from robopolicy.data.store import Store

BATCH, CHUNK, STEPS = 256, 16, 2000


def store(num_frames: int = 1_000_000, length: int = 250, state: int = 20, action: int = 6) -> Store:
    """Random episodes of equal length."""
    random = np.random.default_rng(0)
    episodes = num_frames // length
    stop = (np.arange(episodes) + 1) * length

    def vector(name: str, size: int) -> Vector:
        return Vector.of({f"{name}{i}": (-np.inf, np.inf, "1") for i in range(size)})

    return Store(
        spec=Spec(state=vector("s", state), action=vector("a", action), control_hz=30),
        state=random.standard_normal((num_frames, state), dtype=np.float32),
        action=random.standard_normal((num_frames, action), dtype=np.float32),
        reward=random.standard_normal(num_frames, dtype=np.float32),
        episode_start=stop - length,
        episode_stop=stop,
        terminated=random.random(episodes) < 0.5,
        success=np.zeros(episodes, bool),
        seed=np.arange(episodes),
        text_id=np.zeros(num_frames, np.int64),
        texts=("",),
        source=np.zeros(num_frames, np.uint8),
    )


def microseconds(window: Window, data: Store) -> tuple[float, float]:
    """Median and 95th percentile over batches, in microseconds per transition."""
    sampler = Sampler(store=data, windows={"w": window}, batch_size=BATCH, seed=0)
    times = []
    for step in range(STEPS):
        begin = time.perf_counter()
        sampler.batch(step)
        times.append(time.perf_counter() - begin)
    steady = np.array(times[STEPS // 10 :]) / BATCH * 1e6
    return float(np.median(steady)), float(np.quantile(steady, 0.95))


def main() -> None:
    """Print the table."""
    data = store()
    cases = {
        "imitation, 1 observation": Window(chunk=(0, CHUNK)),
        "imitation, 2 observations": Window(obs=(-1, 0), chunk=(-1, CHUNK - 1)),
        "chunked critic": Window(chunk=(0, CHUNK), bootstrap=CHUNK),
        "chunked critic, return to go": Window(chunk=(0, CHUNK), bootstrap=CHUNK, mc_return=True),
    }
    print(f"batch {BATCH}, chunk {CHUNK}, {data.num_frames:,} control steps; microseconds per transition")
    for name, window in cases.items():
        median, p95 = microseconds(window, data)
        print(f"{name:32s} median {median:5.2f}   p95 {p95:5.2f}")


if __name__ == "__main__":
    main()
