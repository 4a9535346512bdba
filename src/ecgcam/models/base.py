"""What attribution asks of any model: two encoders into one space, an input specification, and layers with declared cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor, nn

from ecgcam.models.reference import Reference
from ecgcam.models.spec import InputSpec, LayerSpec, ModelSpec

Remembered = TypeVar("Remembered")


class TextEncoder(Protocol):
    """Prompts to joint embeddings."""

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return (P, D), before L2."""

    def has(self, text: str) -> bool:
        """Return whether a prompt can be embedded: a table holds only its own."""

    def warnings(self, text: str) -> list[str]:
        """Return what a user should know of a prompt, for example that no word of it is known."""


@runtime_checkable
class HoldsTexts(Protocol):
    """A text side that has some prompts as they stand."""

    def holds(self, text: str) -> bool:
        """Return whether this one is among them, and so is not taken apart into phrasings."""


@runtime_checkable
class GivesFeatures(Protocol):
    """A text side whose tower's features can be had before the model projects them."""

    def features(self, texts: Sequence[str]) -> Sequence[Tensor]:
        """Return one for each prompt, (W,)."""


@runtime_checkable
class AnswersPrompts(Protocol):
    """A network that scores prompts itself: its embedding of a signal holds the scores of those asked of it so far."""

    def place(self, embedding: Tensor) -> Tensor:
        """Return embeddings (..., D) without the scores in them."""


class EcgTextModel:
    """A signal encoder and a text encoder with one score between them.

    Parameters
    ----------
    spec : ModelSpec
        What the model eats and where to look inside it.
    network : nn.Module
        Maps signals (B, leads, T) in model space to joint embeddings (B, D), before L2. Layer paths are relative to it.
    text : TextEncoder
        Its text side.
    sha256 : str
        Of the checkpoint, hexadecimal.
    precision : str
        ``fp32``, or ``bf16``: half as many bits in the network's products, where the processor has them.
    reference : Reference, optional
        Statistics of the recordings that it knows, by which one unlike them can be told.
    """

    reference: Reference | None = None
    precision: str = "fp32"

    def __init__(
        self, spec: ModelSpec, network: nn.Module, text: TextEncoder, sha256: str, device: str = "cpu"
    ) -> None:
        self.spec, self.network, self.text, self.checkpoint_sha256 = spec, network, text, sha256
        self.device = torch.device(device)
        self._remembered: dict[object, object] = {}
        network.to(self.device).eval()

    @property
    def name(self) -> str:
        """The model's name."""
        return self.spec.name

    @property
    def input(self) -> InputSpec:
        """What `encode_signal` takes."""
        return self.spec.input

    def encode_signal(self, x: Tensor) -> Tensor:
        """Return joint embeddings (B, D) of signals (B, leads, T) in model space and lead order; unit length if cosine."""
        return self.finish(self.embed(x))

    def embed(self, x: Tensor) -> Tensor:
        """Return what the network gives for signals (B, leads, T); in bf16, convolutions and products of matrices are in that."""
        if self.precision == "fp32":
            embedding: Tensor = self.network(x)
            return embedding
        with torch.autocast(self.device.type, torch.bfloat16):
            return torch.Tensor.float(self.network(x))

    def finish(self, embedding: Tensor, held: bool = False) -> Tensor:
        """Return joint embeddings as the score takes them, from what the network gives: unit length if it is a cosine.

        With `held` gradients take the length for a constant; values are the same.
        """
        if self.spec.similarity != "cosine":
            return embedding
        if held:
            length: Tensor = embedding.detach().norm(dim=-1, keepdim=True)
            return embedding / length.clamp(min=1e-12)
        return nn.functional.normalize(embedding, dim=-1)

    def place(self, embedding: Tensor) -> Tensor:
        """Return what tells how far signals are apart, of their embeddings (..., D): the same, whatever prompts were asked."""
        return self.network.place(embedding) if isinstance(self.network, AnswersPrompts) else embedding

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return joint embeddings (P, D) of prompts; unit length if the score is a cosine.

        A prompt may be several phrasings of one thing, ``"AF | atrial fibrillation"``: the mean of their embeddings, each as the
        score takes it, at unit length again if the score is a cosine (Radford et al. 2021, arXiv:2103.00020, section 3.1.4).
        """
        phrasings = [self._phrasings(text) for text in texts]
        with torch.no_grad():
            embedded = self.finish(self.text.encode([phrase for group in phrasings for phrase in group]))
            parts = torch.split(embedded, [len(group) for group in phrasings])
            joint = torch.cat([part if len(part) == 1 else self.finish(part.mean(dim=0)[None]) for part in parts])
            return joint.to(self.device)

    def rows_of_a_table(self, texts: Sequence[str]) -> tuple[list[str], Tensor]:
        """Return what a table of prompts holds (see `ecgcam.models.text.table`): texts, and their joint embeddings (P, D).

        Of a network that answers prompts itself they are the text tower's features (P, W), of each phrasing by itself.
        """
        if not (isinstance(self.network, AnswersPrompts) and isinstance(self.text, GivesFeatures)):
            return list(texts), self.encode_text(texts)
        phrases = list(dict.fromkeys(phrase for text in texts for phrase in self._phrasings(text)))
        return phrases, torch.stack(list(self.text.features(phrases)))

    def _phrasings(self, text: str) -> list[str]:
        if isinstance(self.text, HoldsTexts) and self.text.holds(text):
            return [text]
        return [part.strip() for part in text.split(" | ") if part.strip()] or [text]

    def layer(self, path: str | None = None) -> tuple[nn.Module, LayerSpec]:
        """Return a layer (default: the model's target layer) and where its cells are.

        Raises
        ------
        EcgcamError
            If the path is not declared in the model file.
        """
        path, where = self.spec.layer_named(path)
        return self.network.get_submodule(path), where

    def forget(self) -> None:
        """Drop what `remember` kept, and the reference: for a copy of the model whose network is another."""
        self._remembered = {}
        self.reference = None

    def remember(self, key: object, compute: Callable[[], Remembered]) -> Remembered:
        """Return what `compute` gave the first time: for facts about the network that no record changes."""
        if key not in self._remembered:
            self._remembered[key] = compute()
        return cast("Remembered", self._remembered[key])
