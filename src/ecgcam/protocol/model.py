"""What attribution requires of any model: two encoders into one space, an input specification, and layers with known cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from threading import RLock
from typing import Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ecgcam.protocol.reference import Reference
from ecgcam.protocol.spec import InputSpec, LayerSpec, ModelSpec

Cached = TypeVar("Cached")


class TextEncoder(Protocol):
    """Prompts to joint embeddings."""

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return (P, D), before L2."""

    def has(self, text: str) -> bool:
        """Return whether a prompt can be embedded: a table holds only its own."""

    def warnings(self, text: str) -> list[str]:
        """Return warnings about a prompt, for example that the model has no word of it."""


@runtime_checkable
class HasExactTexts(Protocol):
    """A text side that has some prompts as they stand."""

    def has_exact(self, text: str) -> bool:
        """Return whether this one is among them, and so is not taken apart into phrasings."""


@runtime_checkable
class GivesFeatures(Protocol):
    """A text side whose tower's features can be had before the model projects them."""

    def features(self, texts: Sequence[str]) -> Sequence[Tensor]:
        """Return one for each prompt, (W,)."""


@runtime_checkable
class AnswersPrompts(Protocol):
    """A network that scores prompts itself: its embedding of a signal holds the scores of the prompts so far."""

    def comparable_embedding(self, embedding: Tensor) -> Tensor:
        """Return embeddings (..., D) without the scores in them."""


@runtime_checkable
class ScoresPrompts(Protocol):
    """A network that reads signal and prompt together: its embedding of a signal holds the scores of the prompts."""

    def asking(self, directions: Tensor) -> AbstractContextManager[None]:
        """Score only the prompts that some direction (P, D) looks at, within the block."""


class EcgTextModel:
    """A signal encoder and a text encoder with one score between them. Several threads may use one model; they take turns.

    Parameters
    ----------
    spec : ModelSpec
        Input, text side and layers of the model.
    network : nn.Module
        Maps signals (B, leads, T) in model space to joint embeddings (B, D), before L2. Layer paths are relative to it.
    text : TextEncoder
        Its text side.
    sha256 : str
        Of the checkpoint, hexadecimal.
    precision : str
        ``fp32``, or ``bf16``: half as many bits in the network's products, where the processor has them.
    reference : Reference, optional
        Statistics of reference recordings, to recognise a recording unlike them.
    notes : tuple of str
        Notes that every result of this model carries, for example that its outputs are random.
    draws : bool
        Whether the network draws random numbers in evaluation mode. The generator is then restored after each call.
    """

    reference: Reference | None = None
    precision: str = "fp32"
    # What embeds prompts, by content (`ecgcam.models.model_file.text_side_identity`); None where the weights hold it.
    text_identity: str | None = None
    # Prompts are outputs of the network.
    targets: bool = False
    notes: tuple[str, ...] = ()
    draws: bool = False

    def __init__(
        self, spec: ModelSpec, network: nn.Module, text: TextEncoder, sha256: str, device: str = "cpu"
    ) -> None:
        self.spec, self.network, self.text, self.checkpoint_sha256 = spec, network, text, sha256
        self.device = torch.device(device)
        self._cache: dict[object, object] = {}
        self._lock, self._depth = RLock(), 0
        network.to(self.device).eval()

    def __getstate__(self) -> dict[str, object]:
        """Return everything but the lock, which cannot be copied."""
        return {key: value for key, value in vars(self).items() if key not in {"_lock", "_depth"}}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Give the copy a new lock."""
        vars(self).update(state, _lock=RLock(), _depth=0)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold the network in evaluation mode, with no parameter that needs a gradient; restore both on every path.

        One thread at a time is inside: modes, hooks and requires_grad belong to the network, not to a thread.
        """
        with self._lock:
            self._depth += 1
            try:
                with ExitStack() as held:
                    if self._depth == 1:
                        held.enter_context(frozen(self.network))
                        held.enter_context(_same_random_state(self.draws, self.device))
                        # cuDNN has no backward pass of a recurrent layer in evaluation mode.
                        recurrent = self.device.type == "cuda" and _has_recurrent(self.network)
                        held.enter_context(torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext())
                    yield
            finally:
                self._depth -= 1

    @property
    def name(self) -> str:
        """The model's name."""
        return self.spec.name

    @property
    def input(self) -> InputSpec:
        """What `encode_signal` takes."""
        return self.spec.input

    @contextmanager
    def asking(self, directions: Tensor) -> Iterator[None]:
        """Hold the model frozen, and let a joint network score only the prompts that `directions` (P, D) select."""
        with (
            self.frozen(),
            self.network.asking(directions) if isinstance(self.network, ScoresPrompts) else nullcontext(),
        ):
            yield

    def encode_signal(self, x: Tensor) -> Tensor:
        """Return joint embeddings (B, D) of signals (B, leads, T) in model space and lead order; unit length if cosine."""
        return self.to_joint_space(self.embed(x))

    def embed(self, x: Tensor) -> Tensor:
        """Return what the network gives for signals (B, leads, T); in bf16, convolutions and products of matrices are in that."""
        with self.frozen():
            if self.precision == "fp32":
                embedding: Tensor = self.network(x)
                return embedding
            with torch.autocast(self.device.type, torch.bfloat16):
                return torch.Tensor.float(self.network(x))

    def to_joint_space(self, embedding: Tensor, detach_norm: bool = False) -> Tensor:
        """Return joint embeddings as the score takes them, from what the network gives: unit length if it is a cosine.

        With `detach_norm` gradients treat the length as a constant; values are the same.
        """
        if self.spec.similarity != "cosine":
            return embedding
        if detach_norm:
            length: Tensor = embedding.detach().norm(dim=-1, keepdim=True)
            return embedding / length.clamp(min=1e-12)
        return nn.functional.normalize(embedding, dim=-1)

    def comparable_embedding(self, embedding: Tensor) -> Tensor:
        """Return the part of embeddings (..., D) that does not depend on prompts: distances between signals are taken on it."""
        return self.network.comparable_embedding(embedding) if isinstance(self.network, AnswersPrompts) else embedding

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return joint embeddings (P, D) of prompts; unit length if the score is a cosine.

        A prompt may be several phrasings of one thing, ``"AF | atrial fibrillation"``: the mean of their embeddings, each as the
        score takes it, at unit length again if the score is a cosine (Radford et al. 2021, arXiv:2103.00020, section 3.1.4).
        """
        phrasings = [self._phrasings(text) for text in texts]
        # The text side may be part of the network.
        with self.frozen(), torch.no_grad():
            embedded = self.to_joint_space(self.text.encode([phrase for group in phrasings for phrase in group]))
            parts = torch.split(embedded, [len(group) for group in phrasings])
            joint = torch.cat(
                [part if len(part) == 1 else self.to_joint_space(part.mean(dim=0)[None]) for part in parts]
            )
            return joint.to(self.device)

    def embedding_table(self, texts: Sequence[str]) -> tuple[list[str], Tensor]:
        """Return what a table of prompts holds (see `ecgcam.models.text.table`): texts, and their joint embeddings (P, D).

        Of a network that scores prompts itself they are the text tower's features (P, W), one row for each phrasing.
        """
        if not (isinstance(self.network, AnswersPrompts) and isinstance(self.text, GivesFeatures)):
            return list(texts), self.encode_text(texts)
        phrases = list(dict.fromkeys(phrase for text in texts for phrase in self._phrasings(text)))
        return phrases, torch.stack(list(self.text.features(phrases)))

    def _phrasings(self, text: str) -> list[str]:
        if isinstance(self.text, HasExactTexts) and self.text.has_exact(text):
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
        return self.network.get_submodule(path), where  # an own network looks paths up as its author writes them

    def clear_cache(self) -> None:
        """Drop what `cached` kept, and the reference: for a copy of the model whose network is another."""
        self._cache = {}
        self.reference = None

    def cached(self, key: object, compute: Callable[[], Cached]) -> Cached:
        """Return what `compute` gave the first time: for facts about the network that no record changes."""
        with self._lock:
            if key not in self._cache:
                self._cache[key] = compute()
            return cast("Cached", self._cache[key])


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Hold a network in evaluation mode, with no parameter that needs a gradient; restore both, and buffers, on every path."""
    modes = [(module, module.training) for module in network.modules()]
    required = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        network.eval()
        for parameter, _ in required:
            parameter.requires_grad_(False)
        with buffers_kept(network):
            yield
    finally:
        for parameter, needed in required:
            parameter.requires_grad_(needed)
        for module, training in modes:
            module.training = training


@contextmanager
def buffers_kept(network: nn.Module) -> Iterator[None]:
    """Restore the buffers that a forward pass changes, where it puts a normalisation into training mode itself.

    One that was replaced stays: it may be a cache whose size the network keeps elsewhere.
    """
    holding = (one for one in network.buffers() if not is_lazy(one) and not one.is_meta and not one.is_inference())
    buffers = [(one, one.clone()) for one in holding]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:  # batch_norm changes them without a new `_version`
                if buffer.shape == before.shape and not torch.equal(buffer, before):
                    buffer.copy_(before)


@contextmanager
def _same_random_state(draws: bool, device: torch.device) -> Iterator[None]:
    """Put torch's generators back afterwards; within, a network that draws has the same numbers in every call."""
    if not draws:
        yield
        return
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device.index or 0] if cuda else []):
        torch.default_generator.manual_seed(0)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(0)
        yield


def _has_recurrent(network: nn.Module) -> bool:
    return any(isinstance(module, nn.RNNBase) for module in network.modules())
