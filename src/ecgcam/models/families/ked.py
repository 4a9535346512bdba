"""KED: a query decoder asks the ECG's tokens whether a text is true of them (Tian et al. 2024, doi:10.1016/j.xcrm.2024.101875).

The score of a prompt is no product of two embeddings: each prompt is a query to a decoder over the ECG's tokens, and the score
is the difference of its two logits, true less false. So that it can be asked like the others, the prompts asked so far stand
in slots: a signal's embedding begins with its scores of all of them, and a prompt's own is one at its slot and zero elsewhere.
The rest of both has no part in the score: the mean token (published training aligned it with reports) tells how far two signals
are apart, the query how far two prompts are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ecgcam.errors import EcgcamError
from ecgcam.models.families.blocks import State, renamed, without
from ecgcam.models.families.xresnet import EXPANSION, trunk, without_twins

SLOTS = 1024

# The second names of decoder_norm; the text tower, which is not run here; and what only the training needs.
_UNUSED = ("model.decoder.norm.", "model.logit_scale", "text_encoder.bert_model.", "text_encoder.logit_scale")


class Decoder(nn.Module):
    """Queries (B, P, W) that look at a memory (B, N, W), each by itself -> (B, P, W)."""

    def __init__(self, width: int, depth: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(width, heads, hidden, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(depth)
        )

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Return the last layer's queries."""
        # A prompt's score is its own: published code asks all labels of a data set at once, and lets them look at each other.
        others = ~torch.eye(queries.shape[1], dtype=torch.bool, device=queries.device)
        for layer in self.layers:
            queries = layer(queries, memory, tgt_mask=others)
        return queries


class QueryNetwork(nn.Module):
    """Queries (P, W) and the ECG's tokens (B, N, W) to scores (B, P)."""

    def __init__(self, width: int, depth: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.decoder_norm = nn.LayerNorm(width)
        self.decoder = Decoder(width, depth, heads, hidden)
        self.mlp_head = nn.Sequential(nn.Linear(width, 2))

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Return the logit of true less that of false; one normalisation serves queries, tokens and what comes out."""
        asked = self.decoder_norm(queries).expand(len(tokens), -1, -1)
        logits = self.mlp_head(self.decoder_norm(self.decoder(asked, self.decoder_norm(tokens))))
        scores: Tensor = logits[..., 1] - logits[..., 0]
        return scores


class TextSide(nn.Module):
    """What follows the text tower's pooler: (P, text_width) -> queries (P, W)."""

    def __init__(self, text_width: int, width: int) -> None:
        super().__init__()
        self.mlp_embed = nn.Sequential(
            nn.Linear(text_width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return queries, each worked out by itself, so that a prompt's does not depend on the others by a rounding."""
        return torch.cat([self.mlp_embed(row) for row in torch.split(features, 1)])


class Asked(list[Tensor]):
    """The queries asked so far, in their slots. Copies of a network have them in common: prompts are asked of the first."""

    def __deepcopy__(self, _memo: dict[int, object]) -> Asked:
        return self


class KedNetwork(nn.Module):
    """Signal (B, 12, 1000) -> its scores of the prompts asked, its mean token at unit length, zeros: (B, SLOTS + 2 W)."""

    def __init__(self, ecg: nn.Sequential, model: QueryNetwork, text: TextSide, text_width: int) -> None:
        super().__init__()
        self.ecg_model, self.model, self.text_encoder_head = ecg, model, text
        self.text_width = text_width
        self._asked = Asked()

    def forward(self, x: Tensor) -> Tensor:
        """Return the embedding."""
        tokens = self.ecg_model(x).transpose(1, 2)
        scores = tokens.new_zeros(len(x), SLOTS)
        if self._asked:
            asked = self.model(torch.stack(self._asked).to(tokens), tokens)
            scores = torch.cat([asked, scores[:, len(self._asked) :]], dim=1)
        place = normalize(tokens.mean(dim=1), dim=-1)
        return torch.cat([scores, place, torch.zeros_like(place)], dim=1)

    def place(self, embedding: Tensor) -> Tensor:
        """Return embeddings (..., SLOTS + 2 W) without the scores in them: where signals are, whatever was asked."""
        return torch.cat([torch.zeros_like(embedding[..., :SLOTS]), embedding[..., SLOTS:]], dim=-1)

    def project_text(self, features: Tensor) -> Tensor:
        """Return, of the text tower's pooled output (P, text_width), each prompt's slot and query: (P, SLOTS + 2 W).

        Raises
        ------
        EcgcamError
            If more prompts were asked of this network than it has slots.
        """
        queries = self.text_encoder_head(features).detach()
        slots = torch.zeros(len(queries), SLOTS, device=queries.device)
        for row, query in zip(slots, queries, strict=True):
            row[self._slot(query)] = 1.0
        return torch.cat([slots, torch.zeros_like(queries), normalize(queries, dim=-1)], dim=1)

    def _slot(self, query: Tensor) -> int:
        for i, asked in enumerate(self._asked):
            if torch.equal(asked, query):
                return i
        if len(self._asked) == SLOTS:
            raise EcgcamError(
                f"ked: one loaded model answers {SLOTS} different prompts; load it again for the next ones"
            )
        self._asked.append(query)
        return len(self._asked) - 1

    def adapt_state(self, state: State, _source: Path) -> State:
        """Return the part of a checkpoint that is this network."""
        return renamed(without(without_twins(state), _UNUSED), [(r"^text_encoder\.", "text_encoder_head.")])


def build(
    widths: Sequence[int] = (64, 128, 128, 192),
    depths: Sequence[int] = (3, 4, 23, 3),
    layers: int = 7,
    heads: int = 4,
    hidden: int = 1024,
    text_width: int = 768,
) -> KedNetwork:
    """Return a network with untrained weights; each stage's width and blocks, and the sizes of the query decoder."""
    width = EXPANSION * widths[-1]
    ecg = nn.Sequential(*trunk(widths, depths))
    return KedNetwork(ecg, QueryNetwork(width, layers, heads, hidden), TextSide(text_width, width), text_width)
