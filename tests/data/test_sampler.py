from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import episodes, make_episode, make_spec

from robopolicy.core.errors import DatasetError
from robopolicy.core.types import Batch, Episode, Window
from robopolicy.data.sampler import Sampler
from robopolicy.data.store import Store

SPEC = make_spec()
windows = st.builds(
    Window,
    obs=st.sampled_from([(0,), (-1, 0), (-4, -2, 0)]),
    chunk=st.sampled_from([(0, 1), (0, 5), (-1, 3), None]),
    bootstrap=st.sampled_from([None, 1, 3, 6]),
    discount=st.sampled_from([0.9, 1.0]),
    mc_return=st.booleans(),
)


def by_hand(eps: list[Episode], window: Window, row: int) -> dict[str, np.ndarray | float]:
    """The rules in plain Python, one row at a time, episode by episode."""
    for episode in eps:
        if row < len(episode):
            break
        row -= len(episode)
    else:
        raise AssertionError("no such row")
    last = len(episode) - 1

    def seen(t: int) -> np.ndarray:
        return np.stack([episode.state[min(max(t + o, 0), last)] for o in window.obs])

    begin, end = window.chunk or (0, 0)
    out: dict[str, np.ndarray | float] = {
        "obs": seen(row),
        "is_pad": np.array([not 0 <= row + i <= last for i in range(begin, end)], dtype=bool),
        "action": np.array([episode.action[min(max(row + i, 0), last)] for i in range(begin, end)]),
        "mc_return": sum(window.discount**i * r for i, r in enumerate(episode.reward[row:].tolist())),
    }
    if window.bootstrap is not None:
        total, factor, t, ended = 0.0, 1.0, row, False
        for _ in range(window.bootstrap):
            if t == last and not episode.terminated:
                break  # time ran out: what came next was not stored, and the value there is not 0
            total += factor * float(episode.reward[t])
            factor *= window.discount
            ended = t == last
            t += 1
            if ended:
                break
        out |= {"reward": total, "discount": 0.0 if ended else factor, "next_obs": seen(min(t, last))}
    return out


def check(batch: Batch, eps: list[Episode], window: Window) -> None:
    assert batch.index is not None
    for i, row in enumerate(batch.index.tolist()):
        want = by_hand(eps, window, row)
        np.testing.assert_array_equal(batch.obs.state[i], want["obs"])
        np.testing.assert_array_equal(batch.is_pad[i], want["is_pad"])
        if window.chunk is not None:
            np.testing.assert_array_equal(batch.action[i], want["action"])
        if window.mc_return:
            np.testing.assert_allclose(batch.extra["mc_return"][i], want["mc_return"], rtol=1e-5, atol=1e-5)
        if window.bootstrap is not None:
            assert batch.reward is not None
            assert batch.discount is not None
            assert batch.next_obs is not None
            np.testing.assert_allclose(batch.reward[i], want["reward"], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(batch.discount[i], want["discount"], rtol=1e-6)
            if want["discount"]:  # after termination it is not looked at
                np.testing.assert_array_equal(batch.next_obs.state[i], want["next_obs"])


@given(eps=episodes(SPEC), first=windows, second=windows)
@settings(max_examples=120, deadline=None)
def test_every_row_follows_the_rules(eps: list[Episode], first: Window, second: Window) -> None:
    store = Store.from_episodes(eps, SPEC)
    sampler = Sampler(store=store, windows={"critic": first, "policy": second}, batch_size=8, seed=0)
    batch = sampler.at(np.arange(store.num_frames))
    check(batch, eps, first)
    check(batch["policy"], eps, second)
    assert batch.index is not None
    np.testing.assert_array_equal(batch["policy"].index, batch.index)


@given(eps=episodes(SPEC), length=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_a_sequence_is_its_single_steps(eps: list[Episode], length: int) -> None:
    store = Store.from_episodes(eps, SPEC)
    window = Window(sequence=length, discount=0.9, mc_return=True)
    batch = Sampler(store=store, windows={"w": window}, batch_size=1, seed=0).at(np.arange(store.num_frames))
    assert batch.obs.state.shape[:2] == (store.num_frames, length + 1)
    assert batch.reward is not None
    assert batch.discount is not None
    single = Window(bootstrap=1, discount=0.9)
    for row in range(store.num_frames):
        last = int(store.last[row])
        for i in range(length):
            t, complete = row + i, row + i < last or (row + i == last and bool(store.terminal[row]))
            assert batch.is_pad[row, i] == (not complete)
            if not complete:
                continue
            want = by_hand(eps, single, t)
            np.testing.assert_array_equal(batch.obs.state[row, i], store.state[t])
            np.testing.assert_array_equal(batch.obs.state[row, i + 1], store.state[min(t + 1, last)])
            np.testing.assert_array_equal(batch.action[row, i], store.action[t])
            np.testing.assert_allclose(batch.reward[row, i], want["reward"], rtol=1e-5)
            np.testing.assert_allclose(batch.discount[row, i], want["discount"], rtol=1e-5)
            assert batch.extra["terminated"][row, i] == (want["discount"] == 0)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    store = Store.from_episodes([make_episode(SPEC, 40, seed=i) for i in range(5)], SPEC)

    def sampler(seed: int) -> Sampler:
        return Sampler(store=store, windows={"w": Window(chunk=(0, 4))}, batch_size=64, seed=seed)

    straight = sampler(3)
    drawn = [np.asarray(straight.batch(step).index) for step in range(5)]
    np.testing.assert_array_equal(np.asarray(sampler(3).batch(4).index), drawn[4])  # a resumed run
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(np.asarray(sampler(4).batch(0).index), drawn[0])


def test_rows_are_drawn_uniformly_and_only_where_there_is_something_to_learn() -> None:
    eps = [make_episode(SPEC, 4), make_episode(SPEC, 2, terminated=True), make_episode(SPEC, 1)]
    store = Store.from_episodes(eps, SPEC)
    count = 6000
    for window, rows in ((Window(bootstrap=2), [0, 1, 2, 4, 5]), (Window(), [0, 1, 2, 3, 4, 5, 6])):
        drawn = Sampler(store=store, windows={"w": window}, batch_size=count, seed=1).batch(0).index
        seen, times = np.unique(np.asarray(drawn), return_counts=True)
        assert seen.tolist() == rows
        spread = np.sqrt(count / len(rows))
        assert (np.abs(times - count / len(rows)) < 5 * spread).all(), times


def test_text_images_and_columns_come_along() -> None:
    spec = make_spec(cameras=("front",))
    eps = [
        make_episode(spec, 6, seed=i, text=f"task {i}", columns={"advantage": np.arange(6) + 10.0 * i})
        for i in range(2)
    ]
    store = Store.from_episodes(eps, spec)
    window = Window(obs=(-1, 0), columns=("advantage",))
    batch = Sampler(store=store, windows={"w": window}, batch_size=1, seed=0).at(np.array([0, 7]))
    assert batch.obs.text == ("task 0", "task 1")
    assert batch.extra["advantage"].tolist() == [0.0, 11.0]
    np.testing.assert_array_equal(batch.obs.images["front"][0], eps[0].images["front"][[0, 0]])
    np.testing.assert_array_equal(batch.obs.images["front"][1], eps[1].images["front"][[0, 1]])


def test_a_missing_column_is_named() -> None:
    store = Store.from_episodes([make_episode(SPEC, 3)], SPEC)
    with pytest.raises(DatasetError, match="advantage"):
        Sampler(store=store, windows={"w": Window(columns=("advantage",))}, batch_size=1, seed=0)


def test_nothing_to_bootstrap_from_is_said() -> None:
    store = Store.from_episodes([make_episode(SPEC, 1)], SPEC)
    with pytest.raises(DatasetError, match="no row"):
        Sampler(store=store, windows={"w": Window(bootstrap=1)}, batch_size=1, seed=0).batch(0)
