"""Policies on pretrained models: every promise is kept, and their checkpoints refer to the models."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from nn.pretrained_models import save_model

from robopolicy.core.build import build
from robopolicy.core.checkpoint import load, save
from robopolicy.core.errors import CheckpointError
from robopolicy.core.learner import trainable
from robopolicy.testing import check_learner, tiny_learner, tiny_spec
from robopolicy.testing.policies import draw

SPEC = tiny_spec(images=True, text=True)
FLOW = {"_target_": "robopolicy.policies.flow.FlowPolicy", "horizon": 4, "ema": 0.9}
ACT = {
    "_target_": "robopolicy.policies.act.ACTPolicy", "horizon": 4, "width": 32, "heads": 2, "feedforward": 64,
    "encoder_layers": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "vision", "text"),
    [
        ({**FLOW, "vision_frozen": False}, "dinov2", "t5"),
        ({**ACT, "vision_frozen": True}, "resnet", "clip"),
    ],
    ids=["flow, trained further", "act, frozen"],
)
def test_every_promise_is_kept(tmp_path: Path, config: dict, vision: str, text: str) -> None:
    models = {"vision": save_model(tmp_path / "v", vision), "text": save_model(tmp_path / "t", text)}
    check_learner(lambda spec: build({**config, **models}, spec=spec), spec=SPEC)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_checkpoint_refers_to_its_models(tmp_path: Path, frozen: bool) -> None:
    vision, text = save_model(tmp_path / "v", "vit"), save_model(tmp_path / "t", "bert")
    config = {**FLOW, "vision": vision, "vision_frozen": frozen, "text": text}
    learner = tiny_learner(lambda spec: build(config, spec=spec), SPEC, steps=2).eval()
    folder = save(tmp_path / "checkpoint", learner=learner, config=config, spec=SPEC)
    assert torch.equal(draw(load(folder)), draw(learner))  # type: ignore[arg-type]
    kept = safetensors.torch.load_file(folder / "model.safetensors")
    assert any("images.0.map.model." in name for name in kept) != frozen
    assert len(trainable(learner)) == len(learner.groups()["policy"])

    (tmp_path / "t").rename(tmp_path / "elsewhere")
    said = f"{folder} is built on the pretrained model {text}, which is not there.*ln -s FOLDER {text}"
    with pytest.raises(CheckpointError, match=said):
        load(folder)
    (tmp_path / "t").symlink_to(tmp_path / "elsewhere")
    assert torch.equal(draw(load(folder)), draw(learner))  # type: ignore[arg-type]
    save_model(tmp_path / "elsewhere", "bert", seed=1)
    with pytest.raises(CheckpointError, match=f"{text}, whose files had the SHA-256 .* are others now"):
        load(folder)
