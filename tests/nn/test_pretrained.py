"""Pretrained models from a folder: what is taken of them, what moves, and which folders are refused."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import transformers as hf
from nn.pretrained_models import TEXT, save_model

from robopolicy.core.errors import ConfigError, UnknownNameError
from robopolicy.core.spec import Image
from robopolicy.nn.language import PretrainedText, text_embedding
from robopolicy.nn.vision import PretrainedMap, feature_maps

FRAMES = torch.randint(0, 256, (2, 3, 84, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("vit", (16, 3, 3)), ("dinov2", (16, 3, 3)), ("clip", (16, 3, 3)), ("siglip", (16, 3, 3)),
        ("resnet", (16, 3, 3)), ("convnext", (16, 6, 6)),
    ],
)  # fmt: skip
def test_a_vision_model_gives_a_map(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    tuned, frozen = (PretrainedMap(folder=save_model(tmp_path, name), frozen=each) for each in (False, True))
    assert tuned.shape == frozen.shape == shape
    maps = tuned.train()(FRAMES)
    assert maps.shape == (2, *shape)
    torch.testing.assert_close(maps, frozen(FRAMES))
    torch.testing.assert_close(maps, tuned(FRAMES.float() / 255))
    torch.testing.assert_close(
        maps[:1], tuned(FRAMES[:1])
    )  # no row depends on its neighbours, in train mode too
    moving = [each for each in tuned.parameters() if each.requires_grad]
    gradients = torch.autograd.grad(maps.sum(), moving)  # each of them is reached
    assert len(gradients) > 4
    assert not frozen(FRAMES).requires_grad
    assert not list(frozen.parameters())
    assert not frozen.state_dict()


def test_a_token_of_a_patch_is_at_its_place_and_frames_are_scaled_as_the_model_wants(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "dinov2")
    maps = PretrainedMap(folder=folder, frozen=True)(FRAMES)
    pixels = torch.nn.functional.interpolate(FRAMES / 255, (24, 24), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]))
    with torch.no_grad():
        tokens = hf.Dinov2WithRegistersModel.from_pretrained(folder)((pixels - mean) / std).last_hidden_state
    torch.testing.assert_close(maps[:, :, 1, 2], tokens[:, 1 + 4 + 1 * 3 + 2])


def test_a_frozen_model_is_one_for_all_cameras(tmp_path: Path) -> None:
    folder, sizes = save_model(tmp_path, "vit"), [Image(height=84, width=84), Image(height=48, width=64)]
    one, other = feature_maps(sizes, trunk=folder, frozen=True)
    assert one is other
    one, other = feature_maps(sizes, trunk=folder)
    assert one is not other
    with pytest.raises(ConfigError, match="sees 3 channels, the camera has 4"):
        list(feature_maps([Image(height=8, width=8, channels=4)], trunk=folder))
    with pytest.raises(ConfigError, match=r"vision_frozen.*random"):
        list(feature_maps(sizes, trunk="cnn", frozen=True))


@pytest.mark.parametrize("name", ["bert", "t5", "clip", "siglip"])
def test_a_language_model_reads_each_sentence_once_and_by_itself(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    embed = text_embedding(save_model(tmp_path, name), width=5)
    assert isinstance(embed, PretrainedText)
    texts = ("put the red cube on the blue block", "Put the blue block on the RED cube", "open drawer", "")
    with torch.inference_mode():
        embed(texts[:1])  # what is kept is fit to be learned from afterwards
    vectors = embed((*texts, texts[0]))
    assert vectors.shape == (5, 5)
    torch.testing.assert_close(vectors[0], vectors[4])
    torch.testing.assert_close(embed(texts[2:3])[0], vectors[2])
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3
    torch.testing.assert_close(vectors[3], embed.project.bias)
    vectors.sum().backward()
    assert (
        {key for key, _ in embed.named_parameters()}
        == set(embed.state_dict())
        == {"project.weight", "project.bias"}
    )
    known = embed._sentences.value.vector.cache_info()
    assert (known.misses, known.currsize) == (4, 4)
    assert deepcopy(embed)._sentences is embed._sentences


def test_a_text_towers_vector_is_the_one_that_was_matched(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "siglip")
    said = text_embedding(folder, width=5)._sentences.value.vector("lift red")  # type: ignore[union-attr]
    padded = torch.tensor([[2, 5, 9, 3] + [0] * (TEXT["max_position_embeddings"] - 4)])
    with torch.no_grad():
        pooled = hf.SiglipModel.from_pretrained(folder).text_model(input_ids=padded).pooler_output[0]
    torch.testing.assert_close(
        said, (pooled - pooled.mean()) / pooled.std(correction=0), rtol=1e-3, atol=1e-3
    )


def test_a_folder_without_what_is_needed_is_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "clip")
    for name in ("tokenizer.json", "config.json"):
        Path(folder, name).rename(tmp_path / "aside")
        with pytest.raises(ConfigError, match=f"{tmp_path} holds no {name}.*copy it"):
            text_embedding(folder, width=5)
        (tmp_path / "aside").rename(tmp_path / name)
    Path(folder, "preprocessor_config.json").write_text('{"size": 24}')
    with pytest.raises(
        ConfigError, match=r"preprocessor_config.json does not say \['image_mean', 'image_std'\]"
    ):
        PretrainedMap(folder=folder, frozen=True)
    Path(folder, "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"pytorch_model\.bin may run code and is never opened"):
        text_embedding(folder, width=5)
    with pytest.raises(ConfigError, match=r"there is no folder \./nothing"):
        text_embedding("./nothing", width=5)
    with pytest.raises(UnknownNameError, match=r"no text embedding 'bert'.*with a slash"):
        text_embedding("bert", width=5)


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "vit")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(ConfigError, match=r"lack 16 of those that its config.json asks for"):
        PretrainedMap(folder=folder, frozen=True)


@pytest.mark.parametrize("config", [{}, {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}])
def test_code_in_the_folder_is_not_run(tmp_path: Path, config: dict) -> None:
    folder = save_model(tmp_path, "vit")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ConfigError, match=f"{tmp_path} cannot be used as it is"):
        PretrainedMap(folder=folder, frozen=True)


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used as it is"):
        PretrainedMap(folder=save_model(tmp_path, "bert"), frozen=True)
    with pytest.raises(ConfigError, match="cannot be used as it is"):
        text_embedding(save_model(tmp_path / "images", "resnet"), width=5)
