"""The bundled text tower: hashed words and character n-grams, word order by a short convolution.

Character n-grams let it meet spellings it was not trained on (Bojanowski et al. 2017, section 3.2, the hashing of
subwords); hashing needs no word list, so the tower is its weights alone.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Words of letters and digits; each CJK character is a word of its own, since that script writes no spaces.
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")


def words_of(text: str) -> list[str]:
    """Return the normalised words of a prompt: NFKC, case folded, punctuation dropped."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def word_hash(word: str) -> int:
    """Return a stable 32-bit hash of a word (CRC-32 of its UTF-8 bytes)."""
    return zlib.crc32(word.encode())


def subwords(word: str, shortest: int = 3, longest: int = 5) -> list[str]:
    """Return the word in boundary marks, and its character n-grams of 3 to 5 characters."""
    marked = f"<{word}>"
    grams = (marked[i : i + n] for n in range(shortest, longest + 1) for i in range(len(marked) - n + 1))
    return [marked, *(gram for gram in grams if gram != marked)]


class BundledTextTower(nn.Module):
    """Prompts -> joint embeddings (P, D), before L2.

    Parameters
    ----------
    buckets, width : int
        Size of the hashed embedding table.
    dim : int
        Size of the joint embedding.
    most_words : int
        Longer prompts are cut.
    """

    def __init__(self, buckets: int = 8192, width: int = 64, dim: int = 128, most_words: int = 64) -> None:
        super().__init__()
        self.buckets, self.most_words = buckets, most_words
        self.table = nn.EmbeddingBag(buckets, width, mode="mean")
        self.context = nn.Conv1d(width, width, 3, padding=1)
        self.head = nn.Sequential(nn.Linear(2 * width, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Return (P, D); a prompt without any word gives the embedding of silence, not an error."""
        device = self.table.weight.device
        prompts = [words_of(text)[: self.most_words] for text in texts]
        longest = max(1, *(len(words) for words in prompts), 1)
        vocabulary = sorted({word for words in prompts for word in words})
        rows = {word: i for i, word in enumerate(vocabulary)}
        ids: list[int] = []
        offsets: list[int] = []
        for word in vocabulary:
            offsets.append(len(ids))
            ids += [word_hash(part) % self.buckets for part in subwords(word)]
        width = self.table.weight.shape[1]
        vectors = torch.zeros(len(vocabulary) + 1, width, device=device)
        if vocabulary:
            known = self.table(torch.tensor(ids, device=device), torch.tensor(offsets, device=device))
            vectors = torch.cat([known, vectors[:1].to(known.dtype)])
        index = torch.full((len(prompts), longest), len(vocabulary), device=device)
        for row, words in zip(index, prompts, strict=True):
            row[: len(words)] = torch.tensor([rows[word] for word in words], dtype=torch.long, device=device)
        present = (index < len(vocabulary)).unsqueeze(1)
        x = vectors[index].transpose(1, 2)
        x = torch.relu(x + self.context(x)) * present
        mean = x.sum(-1) / present.sum(-1).clamp(min=1)
        embedded: Tensor = self.head(torch.cat([mean, x.amax(-1)], dim=1))
        return embedded
