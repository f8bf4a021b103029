"""Pretrained models from a local folder in transformers' layout.

    config.json, model.safetensors      of any class that transformers' AutoModel knows, one file or several
    tokenizer.json ...                  what AutoTokenizer reads, where it is asked about text
    preprocessor_config.json            size, mean and deviation of its images, where it is asked about images

Nothing is fetched, no code that lies in the folder is run and pickled weights are never opened. Of a model
with two towers (CLIP, SigLIP) the one that is asked for is taken; of an encoder with a decoder, the encoder.

Models stay in eval mode, those that are trained on as well: with dropout or a batch's own statistics, a row
would depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from robopolicy.core.errors import ConfigError

T = TypeVar("T")
Tower = Literal["vision", "text"]
BESIDE: dict[Tower, str] = {"vision": "preprocessor_config.json", "text": "tokenizer.json"}


class Unseen(Generic[T]):
    """Holds what is no part of the module that has it: no optimiser, average or checkpoint sees it.

    Copies of the module share it.
    """

    def __init__(self, value: T) -> None:
        self.value = value

    def __deepcopy__(self, memo: dict[int, Any]) -> Unseen[T]:
        return self


def is_folder(name: str) -> bool:
    """Whether a name means a pretrained model's folder: what has a slash does."""
    return "/" in name


def load(
    folder: str, tower: Tower, ask: Callable[[nn.Module], Tensor], *, frozen: bool
) -> tuple[nn.Module, Tensor]:
    """The model in a folder, and what it answers.

    Args:
        folder: see above.
        tower: which one is wanted.
        ask: how the model will be used, on any input. Parameters that this does not touch (a pooler, a mask's
            token) are frozen; those that it does touch must be in the folder.
        frozen: whether all of it is.

    Raises:
        ConfigError: something is missing or of another kind; the message names the folder and what.
    """
    check_files(folder, tower)
    with understood(folder), _quietly(), torch.enable_grad():
        model, fresh = _open(folder, tower)
        answer = ask(model)
        asked = fresh if frozen else dict(model.named_parameters())
        used = set(_reached(answer, asked))
    if lacking := sorted(used & fresh.keys()):
        raise ConfigError(
            f"the weights in {folder} lack {len(lacking)} of those that its config.json asks for, among them "
            f"{lacking[0]}; copy the folder again, or correct its config.json"
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not frozen and name in used)
    return model, answer.detach()


def _reached(answer: Tensor, parameters: dict[str, nn.Parameter]) -> Iterator[str]:
    """The names of those that `answer` depends on."""
    if parameters:
        gradients = torch.autograd.grad(answer.sum(), list(parameters.values()), allow_unused=True)
        yield from (name for name, each in zip(parameters, gradients, strict=True) if each is not None)


def check_files(folder: str, tower: Tower) -> None:
    """Refuse a folder that lacks what a model of this tower needs, or has its weights pickled alone."""
    files = {path.name for path in Path(folder).iterdir()}
    if not any(name.endswith(".safetensors") for name in files):
        pickled = sorted(name for name in files if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".h5")))
        said = f"{pickled[0]} may run code and is never opened: take " if pickled else ""
        raise ConfigError(f"{folder} holds no weights as safetensors; {said}the model's model.safetensors")
    for name in ("config.json", BESIDE[tower]):
        if name not in files:
            raise ConfigError(
                f"{folder} holds no {name}, which a pretrained {tower} model needs; "
                "copy it from where the model comes from"
            )


@contextmanager
def understood(folder: str) -> Iterator[None]:
    """Whatever transformers raises at a folder's files becomes a `ConfigError` that names the folder."""
    try:
        yield
    except Exception as error:  # what lies there is a stranger's, and so are the classes that read it
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = lines[0] if lines else type(error).__name__
        raise ConfigError(
            f"{folder} cannot be used as it is ({said}); a folder is meant that transformers' AutoModel reads"
        ) from error


def _open(folder: str, tower: Tower) -> tuple[nn.Module, dict[str, nn.Parameter]]:
    """The wanted tower, in eval mode, and those of its parameters that are not in the folder."""
    from transformers import MODEL_FOR_TEXT_ENCODING_MAPPING, AutoConfig, AutoModel, AutoModelForTextEncoding

    local = {"local_files_only": True, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(folder, **local)
    for_text = tower == "text" and type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING
    kind = AutoModelForTextEncoding if for_text else AutoModel
    whole, report = kind.from_pretrained(
        folder, config=config, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **local
    )
    lacking = {parameter for name, parameter in whole.named_parameters() if name in report["missing_keys"]}
    model = whole
    if {"vision_config", "text_config"} <= config.sub_configs.keys():
        model = getattr(whole, f"{tower}_model")
    elif config.is_encoder_decoder:
        model = whole.get_encoder()
    return model.eval(), {name: each for name, each in model.named_parameters() if each in lacking}


@contextmanager
def _quietly() -> Iterator[None]:
    """Transformers draws a bar and prints what it did not need; what is wrong, `load` says."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
