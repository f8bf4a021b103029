"""Instructions to vectors, without a vocabulary file and without a language model.

A text is the mean of the learned vectors of its words and of its neighbouring word pairs, each found by hash
(the bag of tricks, Joulin et al. 2016, arXiv:1607.01759). The pairs keep the order that a bag of words loses:
"red on blue" is not "blue on red". A language model's embedding is another module with the same `forward`.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

_WORD = re.compile(r"[^\W_]+")


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
        distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        ids = [tokens(text, self.buckets) for text in distinct]
        starts = [0]
        for row in ids[:-1]:
            starts.append(starts[-1] + len(row))
        device = self.table.weight.device
        flat = torch.tensor([i for row in ids for i in row], dtype=torch.long, device=device)
        vectors = self.table(flat, torch.tensor(starts, device=device))
        return vectors[torch.tensor([distinct[text] for text in texts], device=device)]
