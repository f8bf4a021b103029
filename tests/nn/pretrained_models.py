"""Tiny models of real classes of transformers, saved as their own `save_pretrained` does, and a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
import transformers as hf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "lift", "put", "pick", "the", "red", "blue", "block", "cube",
    "on", "open", "drawer",
]  # fmt: skip
LAYERS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**LAYERS, "image_size": 24, "patch_size": 8}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
TEXT = {**LAYERS, **SPECIAL, "vocab_size": len(WORDS), "max_position_embeddings": 12}

MODELS: dict[str, Callable[[], hf.PreTrainedModel]] = {
    "vit": lambda: hf.ViTModel(hf.ViTConfig(**VISION)),
    "dinov2": lambda: hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(**VISION, mlp_ratio=2)),
    "resnet": lambda: hf.ResNetModel(
        hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ),
    "convnext": lambda: hf.ConvNextModel(
        hf.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, patch_size=2)
    ),
    "clip": lambda: hf.CLIPModel(hf.CLIPConfig(text_config=TEXT, vision_config=VISION)),
    "siglip": lambda: hf.SiglipModel(hf.SiglipConfig(text_config=TEXT, vision_config=VISION)),
    "bert": lambda: hf.BertForMaskedLM(
        hf.BertConfig(**TEXT)
    ),  # whose weights lack the pooler that is not used
    "t5": lambda: hf.T5ForConditionalGeneration(
        hf.T5Config(vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    ),
}


def save_model(folder: Path, name: str, *, seed: int = 0) -> str:
    """The folder of a tiny model, with what it needs to be asked about images and text."""
    torch.manual_seed(seed)
    MODELS[name]().save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    hf.PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)
    images = {
        "size": {"height": 24, "width": 24},
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.3, 0.4],
    }
    Path(folder, "preprocessor_config.json").write_text(json.dumps(images))
    return str(folder)
