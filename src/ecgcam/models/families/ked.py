"""KED: a query decoder over the ECG's tokens scores whether a text is true (Tian et al. 2024, doi:10.1016/j.xcrm.2024.101875).

The score of a prompt is not the product of two embeddings: each prompt is a query to a decoder over the ECG's tokens, and the
score is the difference of its two logits, true minus false. To fit the interface of the other models, the prompts so far have
numbered slots: a signal's embedding begins with its scores for all of them, and a prompt's embedding is one at its slot and zero
elsewhere. The remaining entries have no part in the score: the mean token (aligned with reports in training) measures the
distance of two signals, the query that of two prompts.
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
    """Queries (B, P, W) that attend to a memory (B, N, W), each alone -> (B, P, W)."""

    def __init__(self, width: int, depth: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(width, heads, hidden, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(depth)
        )

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Return the last layer's queries."""
        # Each prompt is scored alone: published code decodes all labels of a data set together, with attention between them.
        others = ~torch.eye(queries.shape[1], dtype=torch.bool, device=queries.device)
        for layer in self.layers:
            queries = layer(queries, memory, tgt_mask=others)
        return queries


class QueryNetwork(nn.Module):
    """Queries (P, W) and the ECG's tokens (B, N, W) to scores (B, P)."""

    def __init__(self, width: int, depth: int, heads: int, hidden: int, head: int) -> None:
        super().__init__()
        self.decoder_norm = nn.LayerNorm(width)
        self.decoder = Decoder(width, depth, heads, hidden)
        self.mlp_head = nn.Sequential(nn.Linear(width, head), nn.GELU(), nn.Linear(head, 2))

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
        """Return queries, computed one at a time, so that rounding does not make one depend on the others."""
        return torch.cat([self.mlp_embed(row) for row in torch.split(features, 1)])


class Asked(list[Tensor]):
    """The queries of the prompts so far, in their slots. Copies of a network share them with the original."""

    def __deepcopy__(self, _memo: dict[int, object]) -> Asked:
        return self


class KedNetwork(nn.Module):
    """Signal (B, 12, 1000) -> its scores of the prompts so far, its mean token at unit length, zeros: (B, SLOTS + 2 W)."""

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
        comparable_embedding = normalize(tokens.mean(dim=1), dim=-1)
        return torch.cat([scores, comparable_embedding, torch.zeros_like(comparable_embedding)], dim=1)

    def comparable_embedding(self, embedding: Tensor) -> Tensor:
        """Return embeddings (..., SLOTS + 2 W) without the scores: comparable whatever the prompts."""
        return torch.cat([torch.zeros_like(embedding[..., :SLOTS]), embedding[..., SLOTS:]], dim=-1)

    def project_text(self, features: Tensor) -> Tensor:
        """Return, of the text tower's pooled output (P, text_width), each prompt's slot and query: (P, SLOTS + 2 W).

        Raises
        ------
        EcgcamError
            If there are more prompts than slots.
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
            raise EcgcamError(f"ked: a loaded model scores at most {SLOTS} different prompts; load it again for others")
        self._asked.append(query)
        return len(self._asked) - 1

    def adapt_state(self, state: State, _source: Path) -> State:
        """Return the part of a checkpoint that is this network, whose head is the file's: of two layers, or of one.

        The published code had one layer (768 to 2) in its first commit, and has two (768, 2048, 2) since March 2024.
        """
        first = state.get("model.mlp_head.0.weight")
        if first is not None and first.ndim == 2:
            width = self.model.decoder_norm.normalized_shape[0]
            with torch.device("meta"):
                layers: list[nn.Module] = [nn.Linear(width, len(first))]
                if "model.mlp_head.2.weight" in state:
                    layers += [nn.GELU(), nn.Linear(len(first), 2)]
            self.model.mlp_head = nn.Sequential(*layers)
        return renamed(without(without_twins(state), _UNUSED), [(r"^text_encoder\.", "text_encoder_head.")])


def build(
    widths: Sequence[int] = (64, 128, 128, 192),
    depths: Sequence[int] = (3, 4, 23, 3),
    layers: int = 7,
    heads: int = 4,
    hidden: int = 1024,
    head: int = 2048,
    text_width: int = 768,
) -> KedNetwork:
    """Return a network with untrained weights; each stage's width and blocks, and the sizes of the query decoder."""
    width = EXPANSION * widths[-1]
    ecg = nn.Sequential(*trunk(widths, depths))
    return KedNetwork(ecg, QueryNetwork(width, layers, heads, hidden, head), TextSide(text_width, width), text_width)
