from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import assert_same, episodes, make_episode, make_spec

from robopolicy.core.errors import ConfigError, DatasetError
from robopolicy.core.types import Episode, Observation, Step, Window
from robopolicy.data.buffer import Buffer
from robopolicy.data.lerobot import open_dataset
from robopolicy.data.mixer import Mixer
from robopolicy.data.sampler import Sampler
from robopolicy.data.store import MASK, Store

SPEC = make_spec()
WINDOWS = {
    "critic": Window(obs=(-1, 0), chunk=(0, 3), bootstrap=3, discount=0.9, mc_return=True),
    "sequence": Window(sequence=4, discount=0.9),
    "policy": Window(chunk=(-1, 2)),
}


def step_by_step(buffer: Buffer, episode: Episode) -> None:
    def step(t: int, **outcome: object) -> Step:
        obs = Observation(state=episode.state[min(t, len(episode) - 1)], text=(episode.text,))
        return Step(obs=obs, **outcome)  # type: ignore[arg-type]

    before = step(0)
    for t in range(len(episode)):
        last = t == len(episode) - 1
        after = step(
            t + 1,
            reward=float(episode.reward[t]),
            applied=episode.action[t],
            source=episode.source[t],
            terminated=last and episode.terminated,
            truncated=last and not episode.terminated,
            info={"success": last and episode.success},
        )
        buffer.append(before, after)
        before = after


@given(eps=episodes(SPEC), capacity=st.integers(9, 40), stepwise=st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_buffer_gives_what_a_store_of_its_episodes_gives(
    eps: list[Episode], capacity: int, stepwise: bool
) -> None:
    """Also after the ring has wrapped, episodes were moved, and old ones made room."""
    buffer = Buffer(spec=SPEC, capacity=capacity)
    for episode in eps * 3:
        (step_by_step if stepwise else Buffer.extend)(buffer, episode)
    kept = buffer.episodes()
    expected = (eps * 3)[-len(kept) :]
    assert len(kept) == buffer.num_episodes >= 1
    assert sum(map(len, kept)) == len(buffer) <= capacity
    for seen, want in zip(kept, expected, strict=True):
        np.testing.assert_array_equal(seen.state, want.state)
        assert (seen.terminated, seen.success, seen.source) == (want.terminated, want.success, want.source)
    store = Store.from_episodes(expected, SPEC)
    for with_next in (True, False):
        mine, theirs = buffer.anchors(with_next=with_next), store.anchors(with_next=with_next)
        assert len(mine) == len(theirs)
        ours = Sampler(store=buffer, windows=WINDOWS, batch_size=1, seed=0).at(mine)
        other = Sampler(store=store, windows=WINDOWS, batch_size=1, seed=0).at(theirs)
        for seen, want in (
            (ours, other),
            (ours["sequence"], other["sequence"]),
            (ours["policy"], other["policy"]),
        ):
            np.testing.assert_array_equal(seen.obs.state, want.obs.state)
            np.testing.assert_array_equal(seen.action, want.action)
            np.testing.assert_array_equal(seen.is_pad, want.is_pad)
        np.testing.assert_array_equal(ours.reward, other.reward)
        np.testing.assert_array_equal(ours.discount, other.discount)
        np.testing.assert_array_equal(ours.extra["mc_return"], other.extra["mc_return"])


def test_an_episode_in_the_making_is_drawn_up_to_its_newest_step() -> None:
    buffer = Buffer(spec=SPEC, capacity=20)
    episode = make_episode(SPEC, 3)
    for t in range(3):
        after = Step(obs=Observation(state=episode.state[t]), applied=episode.action[t])
        buffer.append(Step(obs=Observation(state=episode.state[t])), after)
        assert buffer.anchors(with_next=False).tolist() == list(range(t + 1))
        assert buffer.anchors(with_next=True).tolist() == list(range(t))
    buffer.end_episode()
    assert buffer.num_episodes == 1
    assert buffer.anchors(with_next=True).tolist() == [0, 1]


def test_columns_can_be_refreshed_through_the_index() -> None:
    buffer = Buffer(spec=SPEC, capacity=20, columns={"priority": ("float32", ())})
    buffer.extend(make_episode(SPEC, 8, columns={"priority": np.zeros(8, np.float32)}))
    window = {"w": Window(columns=("priority",))}
    batch = Sampler(store=buffer, windows=window, batch_size=4, seed=0).batch(0)
    assert batch.index is not None
    buffer.write(batch.index, {"priority": batch.index.astype(np.float32) + 1})
    again = Sampler(store=buffer, windows=window, batch_size=4, seed=0).batch(0)
    np.testing.assert_array_equal(again.extra["priority"], batch.index + 1)
    with pytest.raises(DatasetError, match="no column 'advantage'"):
        buffer.write(batch.index, {"advantage": np.zeros(4)})


def test_a_return_ends_where_nothing_is_bootstrapped_beyond() -> None:
    mask = np.array([True, True, False, True, False])
    episode = make_episode(SPEC, 5, columns={MASK: mask})
    buffer = Buffer(spec=SPEC, capacity=9, columns={MASK: ("bool", ())})
    buffer.extend(episode)
    r = episode.reward
    expected = [r[0] + 0.5 * r[1] + 0.25 * r[2], r[1] + 0.5 * r[2], r[2], r[3] + 0.5 * r[4], r[4]]
    for rows in (buffer, Store.from_episodes([episode], SPEC)):
        np.testing.assert_allclose(rows.returns(0.5)[:5], expected, rtol=1e-6)


def test_an_episode_larger_than_the_ring_is_refused() -> None:
    with pytest.raises(DatasetError, match="raise its capacity"):
        Buffer(spec=SPEC, capacity=5).extend(make_episode(SPEC, 6))


def test_a_step_costs_the_same_beside_few_and_many_episodes() -> None:
    def calls(num_episodes: int) -> int:
        buffer, counted = Buffer(spec=SPEC, capacity=num_episodes + 2), []
        for _ in range(num_episodes):
            buffer.extend(make_episode(SPEC, 1))
        sys.setprofile(lambda *event: counted.append(event[1]))
        try:
            buffer.extend(make_episode(SPEC, 1))
        finally:
            sys.setprofile(None)
        return counted.count("call")

    assert calls(200) == calls(2)


def test_a_buffer_flushes_each_episode_once(tmp_path: Path) -> None:
    buffer = Buffer(spec=SPEC, capacity=50)
    eps = [make_episode(SPEC, 5 + i, seed=i, terminated=i == 1, text=f"task {i}") for i in range(3)]
    for episode in eps:
        buffer.extend(episode)
        buffer.flush(tmp_path / "d")
    assert buffer.num_episodes == 3
    dataset = open_dataset(tmp_path / "d")
    assert dataset.num_episodes == 3
    for i, episode in enumerate(eps):
        assert_same(dataset.episode(i), episode)


def test_a_mix_has_fixed_shares_and_is_repeatable() -> None:
    stores = [Store.from_episodes([make_episode(SPEC, 30, seed=i)], SPEC) for i in range(2)]
    window = {"critic": Window(bootstrap=2), "policy": Window(chunk=(0, 3))}

    def mixer() -> Mixer:
        return Mixer(stores=stores, fractions=(0.25, 0.75), windows=window, batch_size=10, seed=7)

    batch, again = mixer().batch(3), mixer().batch(3)
    assert np.bincount(batch.extra["store"]).tolist() in ([2, 8], [3, 7])
    np.testing.assert_array_equal(batch.index, again.index)
    assert batch.index is not None
    for source, store in enumerate(stores):
        mine = batch.extra["store"] == source
        np.testing.assert_array_equal(batch.obs.state[mine][:, 0], store.state[batch.index[mine]])
        np.testing.assert_array_equal(batch["policy"].action[mine][:, 0], store.action[batch.index[mine]])
    assert len(batch["policy"]) == 10
    with pytest.raises(ConfigError, match="batch_size"):
        Mixer(stores=stores, fractions=(0.01, 0.99), windows=window, batch_size=10, seed=0)
