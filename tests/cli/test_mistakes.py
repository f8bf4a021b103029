"""Every row of what a user can get wrong: status 2, one message with the thing and the fix, nothing lost."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robopolicy.data.lerobot import open_dataset
from robopolicy.data.writer import DatasetWriter
from robopolicy.testing import tiny_spec, tiny_store
from robopolicy.train.collect import collect
from robopolicy.train.run import train

TASK = "tabletop/reach"
FLOW = {"_target_": "robopolicy.policies.flow.FlowPolicy", "horizon": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A dataset and a run trained on it, and the same of a foreign body and of actions that mean deltas."""
    root = tmp_path_factory.mktemp("made")
    collect(TASK, 3, "expert", root / "data")
    settings = {"policy": FLOW, "steps": 1, "batch_size": 4}
    train({**settings, "data": str(root / "data"), "task": TASK}, root / "run", report=lambda *_: None)
    store, dataset = tiny_store(tiny_spec()), open_dataset(root / "data")
    delta = replace(dataset.spec, semantics=replace(dataset.spec.semantics, mode="delta"))
    for name, spec, episodes in (
        ("foreign", tiny_spec(), [store.episode(0), store.episode(1)]),
        ("delta", delta, [dataset.episode(0)]),
    ):
        with DatasetWriter(root / name, spec=spec) as writer:
            for episode in episodes:
                writer.append(episode)
        train({**settings, "data": str(root / name)}, root / f"{name}_run", report=lambda *_: None)
    return root


@pytest.fixture
def copy(made, tmp_path):
    """A copy of something made, to be damaged."""

    def of(name: str) -> Path:
        return Path(shutil.copytree(made / name, tmp_path / "copies" / name, symlinks=True))

    return of


def test_unknown_task(mistake, made, tmp_path) -> None:
    for words in (["collect"], ["eval", str(made / "run")], ["quickstart"]):
        assert "did you mean 'tabletop/reach'" in mistake(*words, "task=tabletop/raech")
    assert "did you mean 'tabletop/reach'" in mistake("check", "tabletop/raech")
    assert "did you mean 'expert'" in mistake("collect", f"task={TASK}", "quality=exprt")
    assert list(tmp_path.iterdir()) == []  # nothing was begun


def test_data_that_are_no_name(mistake, tmp_path) -> None:
    assert "data is 5 (int); str is meant" in mistake("train", "policy=flow", "data=5")
    assert list(tmp_path.iterdir()) == []


def test_unknown_policy(mistake, made) -> None:
    assert "no policy 'flwo'; did you mean 'flow'" in mistake("train", "policy=flwo", f"data={made / 'data'}")
    assert "no policy 'flwo'; did you mean 'flow'" in mistake("check", "flwo")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "policy.horzon=8"], "did you mean 'horizon'"),
        (["train", "optim.weight_decy=0"], "did you mean 'optim.weight_decay'"),
        (["train", "stesp=8"], "did you mean 'steps'"),
        (["train", "policy.horizon=many"], "horizon is 'many'"),
        (["train", "steps=0"], "steps is 0"),
        (["train", "task=["], "'['"),
        (["train", "device=xpu"], "device is 'xpu'"),
        (["train", "policy=flow,act"], "add -m"),
        (["train", "policy=3"], "policy=3: give the name of a file in configs/policy"),
        (["train", "policy={_target_: os.system}"], "'os.system' is refused"),
        (["train", "exp=pick_place_flow"], "add it: +exp=pick_place_flow"),
        (["collect", "policy=flow"], "no key 'policy'"),
        (["collect", "+episods=3"], "no key 'episods'; did you mean 'episodes'"),
        (["collect", "++episods.of=3"], "did you mean 'episodes'"),
        (["train", "+stesp=3"], "no key 'stesp'; did you mean 'steps'"),
        (["collect", "+policy=flow"], "no key 'policy'"),
        (["collect", "~seed"], "seed cannot be deleted"),
        (["view", "data", "episodes=[0,1"], "put the value in quotes"),
        (["data", "convert", "a.npz", "b", "text=@home"], "put the value in quotes"),
        (["train", f"elements=[{','.join(['joint_number_0.pos'] * 20)}]", "stesp=3"], "did you mean 'steps'"),
        (["eval", "a", "+max_step=3"], "no key 'max_step'; did you mean 'max_steps'"),
        (["eval", "a", "+max_step=3,4", "-m"], "did you mean 'max_steps'"),
        (["collect", "episodes.of=3"], "episodes"),
        (["collect", "observ=all"], "did you mean 'observe'"),
        (["collect", "observe=al"], "observe is 'al'"),
        (["collect", "episodes=many"], "episodes is 'many'"),
        (["collect", "workers=0"], "workers is 0; give 1 or more, or null for one per core"),
        (["quickstart", "workers=0"], "workers is 0"),
        (["collect", "env=5"], "collect: env is 5; a mapping is meant: env={key: value}"),
        (["collect", "++expert=5"], "collect: expert is 5;"),
        (["eval", "a", "env=x"], "eval: env is 'x';"),
        (["collect", "env={action_mode: foot}"], "action_mode is 'foot'"),
        (["data", "convert", "a.npz", "b", "control_hs=3"], "did you mean 'control_hz'"),
        (["data", "convert", "a.npz", "b", "control_hz=fast"], "control_hz is 'fast'"),
        (["data", "convert", "a.npz", "b", "control_hz=0"], "control_hz is 0"),
        (["data", "convert", "a.npz", "b", "text=5"], "text is 5"),
        (["view", "data", "episodes=1"], "episodes is 1 (int); list[int, ...] | None is meant"),
        (["view", "data", "output=5"], "output is 5"),
        (["view", "data", "output=v.txt"], "output is 'v.txt'; a name that ends in .rrd"),
        (["data", "merge", "a", "b", "./a", "c"], "the dataset a is given more than once"),
        (["collect", "task=5"], "task is 5; suite/task is meant"),
        (["collect", "output=5"], "output is 5"),
        (["collect", "expert.foo=1"], "no parameter 'foo'"),
        (["collect", "expert.miss=2"], "miss is 2"),
        (["collect", "expert.speed=[1]"], "speed is [1]; 2 values are meant"),
        (["collect", "expert.speed=[2,1]"], "speed is (2.0, 1.0)"),
        (["collect", "expert.play=true"], "'play' is given by the run"),
        (
            ["collect", "expert.quality=mixed"],
            "expert.quality cannot be given; it follows from quality=expert",
        ),
        (["collect", "env.observe=pixels"], "env.observe cannot be given; it follows from observe=state"),
        (["collect", "env.task=x"], "'task' is given by the run"),
        (["collect", "env.name=x"], "no parameter 'name'"),
        (["collect", "env.image_size=2000"], "image_size is 2000; it must be at least 1 and at most 960"),
        (["collect", "env.image_size=0"], "image_size is 0"),
        (["quickstart", "task=5"], "task is 5"),
        (["quickstart", "demonstrations=5"], "demonstrations is 5"),
        (["quickstart", "demonstrations.expert=many"], "demonstrations.expert is 'many'"),
        (["quickstart", "demonstrations.mixed=-1"], "demonstrations.mixed is -1"),
        (["quickstart", "demonstrations={exprt: 5}"], "did you mean 'expert'"),
        (["quickstart", "demonstrations={expert: 0}"], "demonstrations is {'expert': 0}"),
        (["quickstart", "steps=0"], "steps is 0"),
        (["quickstart", "test_episodes=0"], "test_episodes is 0"),
        (["quickstart", "recipe=pick_place_folw"], "did you mean"),
        (["quickstart", "recipe=pick_place_flow_pixels"], "observe=pixels"),
        (["train", "output=5"], "output is 5"),
        (["train", "optim.betas=[1.5,0.9]"], "optim: betas[0] is 1.5; it must be at least 0 and below 1"),
        (["train", "optim.betas=[0.9]"], "betas is [0.9]; 2 values are meant"),
        (["train", "optim.eps=-1"], "optim: eps is -1"),
        (["train", "optim.weight_decay=-1"], "optim: weight_decay is -1"),
        (["train", "optim.clip=inf"], "optim: clip is inf"),
        (["train", "optim.groups={policy: 5}"], "optim.groups.policy is 5"),
        (["train", "optim.groups={policy: {lr: 0}}"], "optim: lr is 0"),
        (["train", "policy=act", "policy.heads=0"], "heads is 0"),
        (["train", "policy=gaussian", "policy.std_range=[1]"], "std_range is [1]; 2 values are meant"),
        (["train", "policy=gaussian", "policy.std_range=[2,1]"], "std_range is (2.0, 1.0)"),
        (["train", "policy.ema=2"], "FlowPolicy: ema is 2.0;"),
        (["train", "policy.data_std=0"], "FlowPolicy: data_std is 0"),
        (["train", "policy=diffusion", "policy.ema=1"], "DiffusionPolicy: ema is 1.0"),
        (["train", "image_shift=-1"], "image_shift is -1"),
        (["train", "image_shift=2"], "image_shift is 2, but observe=state shows no images"),
        (["train", "policy.vision=cnn"], "policy.vision is 'cnn', but observe=state shows no images"),
        (["train", "policy.vision_frozen=true"], "policy.vision_frozen is True, but observe=state shows no"),
        (["train", "policy.text=bert"], "no text embedding 'bert'; known: ['words']; a pretrained model's"),
        (["train", "policy.text=./bert"], "bert; give that of a pretrained model"),
        (["train", "phases=[{updates: 0}]"], "updates is 0"),
        (["train", "phases=[5]"], "phases[0] is 5"),
        (["train", "phases=[]"], "phases is empty"),
        (["train", "phases=5"], "phases=5"),
    ],
)
def test_a_key_or_value_that_does_not_exist(mistake, made, tmp_path, words, said) -> None:
    data = [f"data={made / 'data'}"] if words[0] == "train" else []
    assert said in mistake(*words, *data)
    assert list(tmp_path.iterdir()) == []  # nothing was begun


@pytest.mark.parametrize(
    "word",
    [
        "task=5",
        "output=5",
        "episodes=many",
        "workers=0",
        "latency_ticks=-1",
        "latency_ticks=99",
        "max_steps=0",
        "device=xpu",
        "looks=[a]",
    ],
)
def test_an_evaluation_that_cannot_be(mistake, made, tmp_path, word) -> None:
    assert re.search(rf"{word.partition('=')[0]}\S* is ", mistake("eval", str(made / "run"), word))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["foo=1", "-m"])
@pytest.mark.parametrize(
    "words",
    [
        ["doctor"],
        ["list"],
        ["list", "tasks"],
        ["check", "flow"],
        ["check", TASK],
        ["data", "info", "a"],
        ["data", "check", "a"],
        ["view", "a"],
    ],
)
def test_what_a_command_does_not_take(mistake, words, word) -> None:
    assert word.removesuffix("=1") in mistake(*words, word)


def test_help_shows_what_keys_mean(cli) -> None:
    shown = cli("train", "--help").out
    assert re.search(r"^microbatches: 1 +# equal parts of a batch", shown, flags=re.M)
    assert re.search(r"^optim:\n  lr: 0.0003$", shown, flags=re.M)
    assert "defaults:\n" not in shown
    assert shown.count("\ndata: ") == 1


def test_an_evaluation_is_not_made_on_states_of_collection(mistake, made) -> None:
    assert "['dev', 'test']" in mistake("eval", str(made / "run"), "split=collect")


def test_a_checkpoint_against_itself(mistake, made) -> None:
    assert "more than once" in mistake("eval", str(made / "run"), str(made / "run"), "--compare")


def test_output_that_cannot_be_a_folder(mistake, made, tmp_path) -> None:
    (tmp_path / "file").touch()
    for words in (["collect"], ["train", f"data={made / 'data'}"], ["eval", str(made / "run")]):
        assert "x cannot be" in mistake(*words, "output=file/x")
    assert "x.rrd cannot be" in mistake("view", str(made / "data"), "output=file/x.rrd")


def test_output_that_holds_something_else(mistake, made) -> None:
    data, run = made / "data", made / "run"
    for words, said in (
        (["train", f"data={data}", f"output={data}"], f"{data} cannot take the run: it holds the dataset"),
        (["collect", f"output={run}"], f"{run} cannot take the dataset: it holds the run"),
        (["eval", str(run), f"output={run}"], f"{run} cannot take the evaluation: it holds the run"),
    ):
        assert said in mistake(*words)


def test_data_that_are_not_finite(mistake, copy) -> None:
    data = copy("data")
    (path,) = data.glob("data/**/*.parquet")
    table = pq.read_table(path)
    at, field = table.schema.get_field_index("action"), table.schema.field("action")
    actions = np.stack(table["action"].to_numpy())
    actions[:, 1] = np.nan
    pq.write_table(table.set_column(at, field, pa.array(list(actions), type=field.type)), path)
    assert "the action is not finite" in mistake("train", f"data={data}", "steps=2")


def test_a_language_model_without_instructions_to_read(mistake, made) -> None:
    said = mistake("train", f"data={made / 'foreign'}", "policy.text=./bert")
    assert "bert', but " in said
    assert f"{made / 'foreign'} holds no instructions; delete it" in said


def test_what_is_missing_is_named(mistake, made) -> None:
    assert "data is not given" in mistake("train")
    assert "add task=" in mistake("eval", str(made / "foreign_run"))
    assert "usage" in mistake("data", "merge", "a", "b")


def test_bodies_that_do_not_fit(mistake, made) -> None:
    shapes = mistake("eval", str(made / "foreign_run"), f"task={TASK}", "workers=1")
    assert "action.names: the policy has ['turn', 'push', 'move'], the environment has" in shapes
    assert "ee.pitch" in mistake("eval", str(made / "run"), "env={action_mode: ee}", "workers=1")
    semantics = mistake("eval", str(made / "delta_run"), f"task={TASK}", "workers=1")
    assert "mode" in semantics
    assert "'delta'" in semantics
    assert "data" in mistake("data", "merge", str(made / "data"), str(made / "foreign"), "both")
    assert list(Path.cwd().iterdir()) == []


def test_empty_dataset(mistake, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with DatasetWriter(tmp_path / "none", spec=tiny_spec()):
        pass
    for name in ("missing", "empty", "none"):
        for words in (["train", f"data={name}"], ["data", "info", name]):
            assert name in mistake(*words)


def test_dataset_cut_short_by_a_kill(cli, mistake, tmp_path) -> None:
    words = [
        sys.executable,
        "-m",
        "robopolicy.cli.main",
        "collect",
        f"task={TASK}",
        "episodes=400",
        "output=data",
    ]
    killed = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("data/**/*"))) < 12 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    held = open_dataset(tmp_path / "data").num_episodes
    assert 0 < held < 400
    assert cli("data", "check", "data").status == 0
    assert cli("collect", f"task={TASK}", f"episodes={held + 1}", "output=data", "workers=1").status == 0
    assert open_dataset(tmp_path / "data").num_episodes == held + 1


def test_dataset_with_a_truncated_file(cli, mistake, copy) -> None:
    data = copy("data")
    parquet = next(data.glob("data/**/*.parquet"))
    os.truncate(parquet, parquet.stat().st_size // 2)
    assert parquet.name in mistake("train", f"data={data}")
    found = cli("data", "check", str(data))
    assert found.status == 1
    assert f"{parquet.name}, episodes 0 to 2: " in found.out
    (data / "meta" / "info.json").unlink()
    found = cli("data", "check", str(data))
    assert found.status == 1
    assert "is not a finished dataset" in found.out
    assert "no dataset at elsewhere" in mistake("data", "check", "elsewhere")


def test_checkpoint_with_a_flipped_byte(mistake, copy) -> None:
    run = copy("run")
    weights = next(run.glob("checkpoints/step_*/model.safetensors"))
    raw = bytearray(weights.read_bytes())
    raw[len(raw) // 2] ^= 1
    weights.write_bytes(raw)
    assert "SHA-256" in mistake("eval", str(run), f"task={TASK}")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("_target_: os.system\ncommand: touch owned\n", "'os.system' is refused"),
        ("hydra: {run: {dir: owned}}\n", "hydra"),
        ("_target_: robopolicy.policies.flow.FlowPolicy\nhorizon: ${oc.env:HOME}\n", "interpolation"),
        ("!!python/object/apply:os.system [touch owned]\n", "tag"),
    ],
)
def test_checkpoint_from_a_stranger(mistake, copy, config, said) -> None:
    folder = next(copy("run").glob("checkpoints/step_*"))
    (folder / "config.yaml").write_text(config)
    manifest = json.loads((folder / "manifest.json").read_text())
    digest = hashlib.sha256(config.encode()).hexdigest()
    manifest["files"]["config.yaml"] = {"size": len(config.encode()), "sha256": digest}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert said in mistake("eval", str(folder), f"task={TASK}", "workers=1")
    assert not Path("owned").exists()


@pytest.mark.parametrize("name", ["policy.pt", "policy.pkl", "policy.ckpt"])
def test_pickle_offered_as_checkpoint(mistake, tmp_path, name) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    assert "pickle" in mistake("eval", name, f"task={TASK}")
    assert not Path("owned").exists()
