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

from ecgcam.models.text.vocabulary import phrases_of, vocabulary_prompts
from ecgcam.records.criteria import all_criteria

# Words of letters and digits; each CJK character is a word, since that script writes no spaces.
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


# Buckets of the hash of known words; many, so that an unknown word rarely shares one with a known word.
KNOWN_BUCKETS = 1 << 16
# The cosine below which a prompt is near no finding: 95 % of the vocabulary's phrases are above it.
NEAR = 0.75


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

    known: Tensor

    def __init__(self, buckets: int = 8192, width: int = 64, dim: int = 128, most_words: int = 64) -> None:
        super().__init__()
        # Which buckets a training word fell into, by its whole-word hash: the words of the training texts.
        self.register_buffer("known", torch.zeros(KNOWN_BUCKETS, dtype=torch.bool))
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

    def learn_words(self, texts: Sequence[str]) -> None:
        """Note the words of the training texts, so that a prompt of unknown words can be recognised."""
        for text in texts:
            for word in words_of(text):
                self.known[word_hash(word) % KNOWN_BUCKETS] = True

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of a prompt that no training text had."""
        return [word for word in words_of(text) if not bool(self.known[word_hash(word) % KNOWN_BUCKETS])]


class BundledEncoder:
    """The text side of the bundled model, as attribution sees it."""

    def __init__(self, tower: BundledTextTower) -> None:
        self.tower = tower
        # Every map of a prompt needs its warnings; they take as long as fifty prompts.
        self._warnings: dict[str, list[str]] = {}

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return (P, D), before L2."""
        embedded: Tensor = self.tower(texts)
        return embedded

    def _nearest_findings(self, text: str, count: int = 3) -> tuple[list[str], float]:
        """Return the vocabulary's prompts nearest to a prompt, and its cosine with the nearest text trained on.

        Those are the prompts, each with "no" before it, and a phrase for each criterion and one against it.
        """
        known = vocabulary_prompts()
        criteria = [side[0] for one in all_criteria() for side in (one.positive, one.negative) if side]
        with torch.no_grad():
            texts = [text, *known, *(f"no {one}" for one in known), *criteria]
            embedded = nn.functional.normalize(self.encode(texts), dim=1)
        cosines = embedded[1:] @ embedded[0]
        order = cosines[: len(known)].argsort(descending=True)[:count]
        return [known[int(i)] for i in order], float(cosines.max())

    def has(self, text: str) -> bool:  # noqa: ARG002  (any text has character n-grams)
        """Return true."""
        return True

    def warnings(self, text: str) -> list[str]:
        """Return a warning if some words of a prompt were in no training text, or if it is near no finding."""
        if text not in self._warnings:
            self._warnings[text] = self._find_warnings(text)
        return list(self._warnings[text])

    def _find_warnings(self, text: str) -> list[str]:
        words, unknown = words_of(text), self.tower.unknown_words(text)
        if not unknown:
            if phrases_of(text):
                return []
            nearest, cosine = self._nearest_findings(text)
            if cosine >= NEAR:
                return []
            return [
                f"the prompt {text!r} is near no finding that the model was trained on, so its score may mean little; "
                f"the nearest findings of the vocabulary are {', '.join(nearest)}"
            ]
        if len(unknown) == len(words):
            nearest, _ = self._nearest_findings(text)
            return [
                f"the model has no word of the prompt {text!r}, so its score means little; the nearest "
                f"findings of the vocabulary are {', '.join(nearest)}"
            ]
        return [f"words of the prompt that the model does not know: {', '.join(unknown)}"]
