"""Published text towers through transformers (extra ``ecgcam[text]``), and what they make of prompts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ecgcam.errors import EcgcamError
from ecgcam.files import one_line
from ecgcam.models.spec import TowerSpec

EXTRA = "pip install 'ecgcam[text]'"


class PublishedTower:
    """A text tower: prompts -> features (P, W), on the CPU, each prompt once.

    Parameters
    ----------
    source : str
        A name on the hub, or a local folder with configuration and tokenizer.
    spec : TowerSpec
        How it is asked.
    weights : dict of Tensor, optional
        The tower's own weights, from inside the model's checkpoint; without them those of `source`.
    offline : bool
        Nothing is downloaded.

    Raises
    ------
    EcgcamError
        If transformers is not installed, the tower cannot be had, or the weights do not fit it.
    """

    def __init__(
        self, source: str, spec: TowerSpec, weights: dict[str, Tensor] | None = None, offline: bool = False
    ) -> None:
        self.source, self.spec = source, spec
        if offline:
            os.environ["HF_HUB_OFFLINE"] = "1"
        try:
            import transformers
        except ImportError as error:
            raise EcgcamError(f"--text: {source} is read by transformers, which is not installed: {EXTRA}") from error
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(source, local_files_only=offline)
            config = transformers.AutoConfig.from_pretrained(source, local_files_only=offline)
            self._network = self._build(transformers, config, weights, offline)
        except (OSError, ValueError) as error:
            where = (
                "is not on this machine, and --offline forbids a download"
                if offline
                else f"cannot be had ({one_line(error)})"
            )
            raise EcgcamError(
                f"{source}: the text tower {where}; give its folder with --text-model DIR, or a table with --embeddings"
            ) from error
        self._network.eval().requires_grad_(False)
        self._features: dict[str, Tensor] = {}

    def _build(self, transformers: Any, config: Any, weights: dict[str, Tensor] | None, offline: bool) -> nn.Module:
        if self.spec.kind == "bert-decoder":
            config.is_decoder = True
        kind = transformers.T5EncoderModel if self.spec.kind == "t5" else transformers.AutoModel
        network: nn.Module
        if weights is None:
            network = kind.from_pretrained(self.source, config=config, local_files_only=offline)
            return network
        network = kind(config) if self.spec.kind == "t5" else transformers.AutoModel.from_config(config)
        wanted = network.state_dict()
        # Older files keep the numbers 0, 1, 2, ... as if they were weights.
        missing = [key for key in wanted if key not in weights and not key.endswith("position_ids")]
        misshapen = [key for key in wanted if key in weights and weights[key].shape != wanted[key].shape]
        if missing or misshapen:
            raise EcgcamError(
                f"{self.source}: the text tower's weights in the checkpoint do not fit its configuration "
                f"({', '.join([*missing, *misshapen][:3])}); give the folder of the tower it was trained with, --text-model DIR"
            )
        network.load_state_dict(
            {key: weights[key].to(wanted[key].dtype) for key in wanted if key in weights}, strict=False
        )
        return network

    def features(self, texts: Sequence[str], batch: int = 16) -> Tensor:
        """Return (P, W)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._features]
        for i in range(0, len(new), batch):
            part = new[i : i + batch]
            for text, row in zip(part, self._run(part), strict=True):
                self._features[text] = row
        return torch.stack([self._features[text] for text in texts])

    def _run(self, texts: Sequence[str]) -> Tensor:
        spec = self.spec
        written = [spec.template.format(text) for text in texts]
        if spec.lower:
            written = [text.lower() for text in written]
        tokens = self._tokenizer(
            written, padding="max_length", truncation=True, max_length=spec.length, return_tensors="pt"
        )
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        if spec.kind == "bert-decoder":
            # The class token goes from the front to the end, where a causal decoder has read everything.
            ids = torch.cat([ids[:, 1:], ids[:, :1]], dim=1)
            mask = torch.cat([mask[:, 1:], mask[:, :1]], dim=1)
        with torch.no_grad():
            answer = self._network(input_ids=ids, attention_mask=mask)
        hidden: Tensor = answer.last_hidden_state
        if spec.pooling == "pooler":
            if getattr(answer, "pooler_output", None) is None:
                raise EcgcamError(f"{self.source}: has no pooler; its model file must say pooling = 'class' or 'last'")
            pooled: Tensor = answer.pooler_output
            return pooled
        return hidden[:, 0] if spec.pooling == "class" else hidden[:, -1]


class PublishedEncoder:
    """A text side: a published tower, made when first asked, and the model's projection of its features."""

    def __init__(self, make: Callable[[], PublishedTower], project: Callable[[Tensor], Tensor]) -> None:
        self._make, self._project = make, project
        self._tower: PublishedTower | None = None

    @property
    def tower(self) -> PublishedTower:
        """The tower."""
        if self._tower is None:
            self._tower = self._make()
        return self._tower

    def features(self, texts: Sequence[str]) -> Tensor:
        """Return what the tower itself says (P, W)."""
        return self.tower.features(texts)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return (P, D), before L2."""
        return self._project(self.features(texts))

    def has(self, text: str) -> bool:  # noqa: ARG002  (a tokenizer takes any text)
        """Return true."""
        return True

    def warnings(self, text: str) -> list[str]:  # noqa: ARG002
        """Return nothing: a large tower does not say what it does not know."""
        return []


def tower_for(
    source: str, spec: TowerSpec, state: dict[str, Tensor], folder: Path | None, offline: bool
) -> PublishedTower:
    """Return a model's text tower: from a local folder, else from the hub; its weights from the checkpoint where it has them."""
    inside = {
        key.removeprefix(spec.weights): value
        for key, value in state.items()
        if spec.weights and key.startswith(spec.weights)
    }
    if folder is not None and not folder.is_dir():
        raise EcgcamError(
            f"{folder}: no such folder; --text-model takes one with a tower's configuration and tokenizer"
        )
    name = source if folder is None else str(folder)
    return PublishedTower(name, spec, inside or None, offline)
