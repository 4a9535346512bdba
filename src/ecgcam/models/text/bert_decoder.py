"""BERT run as a causal decoder (MELP): each token sees those before it, and the class token, put last, has seen them all."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ecgcam.models.text.tower import PublishedTower


class BertDecoderTower(PublishedTower):
    """The tokenizer writes the class token first; it goes to the end, behind the padding."""

    padded: ClassVar[bool] = True

    def configure(self, config: Any) -> None:
        """Let the network read from left to right."""
        config.is_decoder = True

    def arrange(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens with the first one last."""
        first_last = [torch.cat([part[:, 1:], part[:, :1]], dim=1) for part in (ids, mask)]
        return first_last[0], first_last[1]
