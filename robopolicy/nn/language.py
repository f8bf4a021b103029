"""Instructions to vectors: learned word by word, or what a pretrained language model says of them.

Without a language model, a text is the mean of the learned vectors of its words and of its neighbouring word
pairs, each found by hash (the bag of tricks, Joulin et al. 2016, arXiv:1607.01759). The pairs keep the order
that a bag of words loses: "red on blue" is not "blue on red".
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from robopolicy.core.bases import Base, OnBase
from robopolicy.core.errors import UnknownNameError
from robopolicy.nn.pretrained import Unseen, check_files, is_folder, load, understood

_WORD = re.compile(r"[^\W_]+")
LONGEST = 512  # tokens of an instruction that are read, where the model itself says no limit
# text towers that are trained on pairs of sentence and picture
MATCHED = frozenset({"clip_text_model", "siglip_text_model", "siglip2_text_model"})


@lru_cache(maxsize=4096)
def tokens(text: str, buckets: int) -> tuple[int, ...]:
    """Rows of the table for the words and word pairs of `text`; case and punctuation do not matter."""
    words = _WORD.findall(text.lower())
    grams = words + [f"{left} {right}" for left, right in pairwise(words)]
    return tuple(zlib.crc32(gram.encode()) % buckets for gram in grams)


class TextEmbedding(nn.Module):
    """Learned embedding of short instructions.

    Args:
        width: of the vector.
        buckets: rows of the table; with a few hundred words, collisions are rare at the default.
    """

    def __init__(self, *, width: int, buckets: int = 4096) -> None:
        super().__init__()
        self.buckets = buckets
        self.table = nn.EmbeddingBag(buckets, width, mode="mean")

    def forward(self, texts: tuple[str, ...]) -> Float[Tensor, "B width"]:
        """One vector per text; zero where it is empty. Equal texts are embedded once."""
        distinct = _rows(texts)
        ids = [tokens(text, self.buckets) for text in distinct]
        starts = [0]
        for row in ids[:-1]:
            starts.append(starts[-1] + len(row))
        device = self.table.weight.device
        flat = torch.tensor([i for row in ids for i in row], dtype=torch.long, device=device)
        vectors = self.table(flat, torch.tensor(starts, device=device))
        return vectors[torch.tensor([distinct[text] for text in texts], device=device)]


def _rows(texts: tuple[str, ...]) -> dict[str, int]:
    """The distinct texts, numbered."""
    return {text: row for row, text in enumerate(dict.fromkeys(texts))}


class PretrainedText(OnBase):
    """What a frozen language model says of an instruction, through a layer that is learned.

    Args:
        width: of the vector.
        folder: of the model, see `nn.pretrained`; BERT and alike, T5, CLIP, SigLIP.
    """

    def __init__(self, *, width: int, folder: str) -> None:
        super().__init__()
        self.base = Base.of(folder)
        self._sentences = Unseen(Sentences(folder=folder))
        self.project = nn.Linear(self._sentences.value.size, width)

    def forward(self, texts: tuple[str, ...]) -> Float[Tensor, "B width"]:
        """One vector per text."""
        distinct, weight = _rows(texts), self.project.weight
        said = torch.stack([self._sentences.value.vector(text) for text in distinct])
        vectors = self.project(said.to(device=weight.device, dtype=weight.dtype))
        return vectors[torch.tensor([distinct[text] for text in texts], device=weight.device)]


class Sentences:
    """A frozen language model, asked about each sentence once.

    It stays on the CPU: a dataset has few instructions, and their vectors are kept. Of a class that was
    trained to match a sentence with a picture, the vector is what was matched; of others, the tokens' mean.

    Args:
        folder: of the model.

    Attributes:
        size: of a vector.
    """

    def __init__(self, *, folder: str) -> None:
        check_files(folder, "text")
        with understood(folder):
            from transformers import AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        self._model, vector = load(folder, "text", lambda model: self._ask(model, "a"), frozen=True)
        self.size = len(vector)
        self.vector = lru_cache(maxsize=4096)(self._vector)

    def _vector(self, text: str) -> Float[Tensor, " D"]:
        """Of one sentence, with zero mean and unit deviation; zero where it is empty."""
        if not text.strip():
            return torch.zeros(self.size)
        with torch.inference_mode(False), torch.no_grad():  # it outlives the mode of whoever asks first
            return F.layer_norm(self._ask(self._model, text), (self.size,))

    def _ask(self, model: Any, text: str) -> Float[Tensor, " D"]:
        """Alone, so that a sentence's vector does not depend on those beside it."""
        longest = min(LONGEST, self._tokenizer.model_max_length)
        longest = min(longest, getattr(model.config, "max_position_embeddings", longest))
        matched = model.config.model_type in MATCHED
        tokens = self._tokenizer(
            text,
            truncation=True,
            max_length=longest,
            padding="max_length" if matched else False,
            return_tensors="pt",
        )
        if matched:  # in training, padding was a token like any other
            return model(input_ids=tokens["input_ids"]).pooler_output[0]
        return model(**tokens).last_hidden_state[0].mean(0)


def text_embedding(text: str, *, width: int) -> TextEmbedding | PretrainedText:
    """Instructions to vectors.

    Args:
        text: `words`, or the folder of a pretrained language model, with a slash.
        width: of the vectors.
    """
    if is_folder(text):
        return PretrainedText(width=width, folder=text)
    if text != "words":
        hint = "; a pretrained model's folder is written with a slash, ./name"
        raise UnknownNameError("text embedding", text, ["words"], hint)
    return TextEmbedding(width=width)
