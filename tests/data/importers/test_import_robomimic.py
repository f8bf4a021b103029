from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from recorded import DEMOS, ENV_ARGS, pictures, write_robomimic

from robopolicy.core.errors import ConfigError, DatasetError, UnknownNameError
from robopolicy.data import origin
from robopolicy.data.check import check
from robopolicy.data.convert import convert
from robopolicy.data.lerobot import open_dataset
from robopolicy.data.merge import merge


@pytest.fixture
def lift(tmp_path: Path) -> Path:
    write_robomimic(tmp_path / "lift.hdf5")
    return tmp_path / "lift.hdf5"


def test_everything_a_policy_needs_is_converted(lift: Path, tmp_path: Path, caplog) -> None:
    dataset = convert(lift, tmp_path / "out", text="lift the cube")
    store = dataset.load()
    objects = [f"env.object.{i}" for i in range(10)]
    assert dataset.spec.state.names == (*objects, *(f"robot0_eef_pos.{i}" for i in range(3)))
    assert dataset.spec.control_hz == ENV_ARGS["env_kwargs"]["control_freq"]
    meaning = dataset.spec.semantics
    assert (meaning.mode, meaning.frame, meaning.rotation) == ("delta", "base", "axis_angle")
    assert meaning.gripper == "closing_effort"
    assert dataset.origins[0]["unknown"] == []
    assert dataset.robot_type == "Panda"
    assert "agentview_depth" in caplog.text  # what is left out is said
    with h5py.File(lift) as file:
        for number, demo in enumerate(DEMOS):  # demo_10 after demo_2
            episode, data = store.episode(number), file["data"][demo]
            state = np.concatenate([data["obs/object"], data["obs/robot0_eef_pos"]], axis=1)
            np.testing.assert_array_equal(episode.state, state.astype(np.float32))
            np.testing.assert_array_equal(episode.action, data["actions"][:].astype(np.float32))
            np.testing.assert_array_equal(episode.reward, data["rewards"][:])
            np.testing.assert_array_equal(episode.columns["next.mask"], data["dones"][:] == 0)
            want = pictures(DEMOS[demo], seed=number).transpose(0, 3, 1, 2)
            assert np.abs(episode.images["agentview"].astype(int) - want).mean() < 4
    assert store.success.tolist() == [True, False, True]
    assert store.terminated.tolist() == [True, True, True]
    assert check(tmp_path / "out").findings == ()


def test_env_args_go_where_the_episodes_go(lift: Path, tmp_path: Path) -> None:
    convert(lift, tmp_path / "a", cameras=[])
    newer = {**ENV_ARGS, "env_name": "Stack"}
    write_robomimic(tmp_path / "stack.hdf5", env_args=newer)
    convert(tmp_path / "stack.hdf5", tmp_path / "b", cameras=[])
    merged = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    again = merge([tmp_path / "all"], tmp_path / "again")
    assert [each["env_args"] for each in merged.origins] == [ENV_ARGS, newer]
    assert again.origins == merged.origins
    for damage in ("5", '[{"unknown": 5}]'):
        (tmp_path / "all" / origin.ORIGIN).write_text(f'{{"origins": {damage}}}')
        (finding,) = check(tmp_path / "all").findings
        assert finding.where == origin.ORIGIN


def test_chosen_arrays_and_cameras_alone_are_kept(lift: Path, tmp_path: Path) -> None:
    some = convert(lift, tmp_path / "some", state=["robot0_eef_pos"], cameras=["agentview"]).spec
    assert some.state.names == tuple(f"robot0_eef_pos.{i}" for i in range(3))
    assert list(some.images) == ["agentview"]
    assert not convert(lift, tmp_path / "none", cameras=[]).spec.images
    with pytest.raises(UnknownNameError, match="no camera 'agentviw'; did you mean 'agentview'"):
        convert(lift, tmp_path / "out", cameras=["agentviw"])
    with pytest.raises(UnknownNameError, match=r"no array of the state 'eef'.*robot0_eef_pos"):
        convert(lift, tmp_path / "out", state=["eef"])
    with pytest.raises(ConfigError, match=r"control_hz is 10, .* says 20"):
        convert(lift, tmp_path / "out", control_hz=10)
    with pytest.raises(ConfigError, match=r"semantics is .*'absolute'.* says .*'delta'.*leave semantics out"):
        convert(lift, tmp_path / "out", semantics={"mode": "absolute"})
    with pytest.raises(ConfigError, match="says which episodes succeeded; leave out success=True"):
        convert(lift, tmp_path / "out", success=True)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def robosuite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation of robosuite 1.5.1, as far as its version goes."""
    installed = tmp_path / "site" / "robosuite-1.5.1.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: robosuite\nVersion: 1.5.1\n")
    monkeypatch.syspath_prepend(str(installed.parent))


FLAT = {"type": "OSC_POSE"}
COMPOSITE = {"type": "BASIC", "body_parts": {"right": {"type": "OSC_POSE", "input_type": "absolute"}}}


@pytest.mark.parametrize(
    ("version", "controller", "said"),
    [
        ("1.4.1", FLAT, "recorded on robosuite 1.4.1, 1.5.1 is installed"),
        (None, FLAT, "recorded on robosuite 1.4 or older, 1.5.1 is installed"),
        ("1.5.0", COMPOSITE, "holds Lift, task=robosuite/stack was asked for"),
        (None, COMPOSITE, "holds Lift"),
    ],
)
def test_robosuite_of_another_version_is_recognised(
    robosuite, tmp_path: Path, version: str | None, controller: dict, said: str
) -> None:
    kwargs = {**ENV_ARGS["env_kwargs"], "controller_configs": controller}
    env_args = {**ENV_ARGS, "env_version": version, "env_kwargs": kwargs}
    write_robomimic(tmp_path / "lift.hdf5", env_args=env_args)
    with pytest.raises(DatasetError, match=said):
        convert(tmp_path / "lift.hdf5", tmp_path / "out", task="robosuite/stack")
    dataset = convert(tmp_path / "lift.hdf5", tmp_path / "out", cameras=[])  # to learn from, it will do
    assert dataset.spec.semantics.mode == ("delta" if controller is FLAT else "absolute")
    (fact,) = dataset.facts()["origin"]
    assert ("(1.5.1 does not play it back)" in fact) == (controller is FLAT)
    with pytest.raises(DatasetError, match=said):
        origin.require_task(dataset.origins, "robosuite/stack", name="out")
    origin.require_task(dataset.origins, "tabletop/stack", name="out")  # says nothing of other simulators
    if controller is COMPOSITE:
        origin.require_task(dataset.origins, "robosuite/lift", name="out")


def _put(path: str, values: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[path]
        file[path] = values

    return change


def _drop(path: str) -> Callable[[h5py.File], None]:
    return lambda file: file.__delitem__(path)


def _env(text: str) -> Callable[[h5py.File], None]:
    return lambda file: file["data"].attrs.__setitem__("env_args", text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file["data"].attrs.clear(), "lacks the attribute env_args.*convert_robosuite"),
        (_env("{"), "env_args are no JSON"),
        (_env("[" * 100_000), "env_args are no JSON"),
        (_env("[1]"), r"env_args are '\[1\]', an object is meant"),
        (_env(json.dumps({**ENV_ARGS, "env_name": "\ud800"})), "env_args are no JSON"),
        (_env(json.dumps({**ENV_ARGS, "env_kwargs": {}})), "add control_hz"),
        (_env(json.dumps({"env_kwargs": {"control_freq": 1e999}})), "control_hz is inf; it must be above 0"),
        (_env(json.dumps({"env_kwargs": {"control_freq": "fast"}})), "cannot be read: could not convert"),
        (_env(json.dumps({"env_kwargs": {"controller_configs": {"type": []}}})), "cannot be read"),
        (_drop("data"), "no group 'data'"),
        (_put("data/demo_2", np.zeros(2)), "data/demo_2 is damaged or no group; get the file again"),
        (_drop("data/demo_0/obs"), "no group 'data/demo_0/obs'.*dataset_states_to_obs"),
        (_drop("data/demo_2/actions"), "no dataset 'data/demo_2/actions'"),
        (_drop("data/demo_2/obs/object"), "no dataset 'data/demo_2/obs/object'"),
        (_drop("data/demo_2/dones"), "no dataset 'data/demo_2/dones'"),
        (_put("data/demo_2/rewards", np.zeros(2)), r"demo_2 has 3 actions, .*\{'rewards': 2\}"),
        (_put("data/demo_2/obs/object", np.zeros((2, 10))), r"demo_2 has 3 actions, .*'env.object': 2"),
        (_put("data/demo_2/obs/object", np.zeros((3, 4))), "'env.object': 4.*the first episode"),
        (_put("data/demo_2/actions", np.zeros((3, 6))), "demo_2: action has shape"),
        (_put("data/demo_2/actions", np.zeros(3)), r"data/demo_2/actions has shape \[3\]; 2 axes"),
        (_put("data/demo_2/actions", np.full((3, 7), np.nan)), "demo_2: action is not finite at frame 0"),
        (_put("data/demo_2/actions", np.full((3, 7), 1e300)), "demo_2: action is not finite at frame 0"),
        (_put("data/demo_2/obs/object", np.array([b"a"] * 3, dtype=object)), "holds object; only numbers"),
        (_put("data/demo_2/obs/object", np.zeros(3, dtype="V8")), "holds .*V8; only numbers"),
        (_put("data/demo_2/obs/agentview_image", np.zeros((3, 8, 8, 3), np.uint8)), "camera 'agentview'"),
        (_put("data/demo_2/obs/object", h5py.ExternalLink("other.hdf5", "/x")), "is a link, which is not"),
        (_put("data/demo_2/obs/object", h5py.SoftLink("/data/demo_0/obs/object")), "is a link"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_one_error(lift: Path, tmp_path: Path, change, said: str) -> None:
    with h5py.File(lift, "a") as file:
        change(file)
    with pytest.raises((DatasetError, ConfigError), match=said) as caught:
        convert(lift, tmp_path / "out")
    assert str(lift) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["lift.hdf5"]


def test_bytes_of_other_files_of_this_machine_stay_where_they_are(lift: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"abcd")
    with h5py.File(lift, "a") as file:
        file["data/demo_0/obs"].create_dataset("key", shape=(4,), dtype="u1", external=[(str(secret), 0, 4)])
    with pytest.raises(DatasetError, match="lies in another file"):
        convert(lift, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"hello", None])
def test_a_file_that_is_no_hdf5_is_one_error(lift: Path, tmp_path: Path, content: bytes | None) -> None:
    lift.write_bytes(lift.read_bytes()[:9000] if content is None else content)
    with pytest.raises(DatasetError, match=r"lift\.hdf5 cannot be read"):
        convert(lift, tmp_path / "out")


def test_a_missing_library_is_named_with_its_command(lift: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DatasetError, match=r"pip install -c \S*constraints.txt h5py$"):
        convert(lift, tmp_path / "out")


def test_no_demonstrations(lift: Path, tmp_path: Path) -> None:
    with h5py.File(lift, "a") as file:
        for demo in DEMOS:
            del file["data"][demo]
    with pytest.raises(DatasetError, match="holds no demonstrations"):
        convert(lift, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dataset_of_ones_own_has_no_origin(lift: Path, tmp_path: Path) -> None:
    root = tmp_path / "out"
    convert(lift, root, cameras=[])
    (root / origin.ORIGIN).unlink()
    assert open_dataset(root).origins == ()
    assert "origin" not in open_dataset(root).facts()
