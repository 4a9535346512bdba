"""What published text towers have in common: tokenizer, weights and pooling, through transformers (extra ``ecgcam[text]``)."""

from __future__ import annotations

import logging
import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ecgcam.errors import EcgcamError
from ecgcam.files import one_line
from ecgcam.models.spec import TowerSpec

log = logging.getLogger("ecgcam")

# What transformers lets through when a tower's files are missing, damaged, or of another tower.
DAMAGED = (
    OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ImportError, EOFError, pickle.UnpicklingError,
    SafetensorError,
)  # fmt: skip

EXTRA = "pip install 'ecgcam[text]'"


class PublishedTower:
    """A text tower: prompts -> features, (W,) or (tokens, W) each, on the CPU. Each kind is a class in a file of its own.

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

    # The class of transformers that is made of a configuration.
    architecture: ClassVar[str] = "AutoModel"

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
            self._tokenizer, self._network = self._had(transformers, weights, offline)
        except DAMAGED as error:
            where = (
                "is not on this machine, and --offline forbids a download"
                if offline and not Path(source).is_dir()
                else f"cannot be had ({one_line(error)})"
            )
            raise EcgcamError(
                f"{source}: the text tower {where}; give its folder with --text-model DIR, or a table with --embeddings"
            ) from error
        self._network.eval().float().requires_grad_(False)  # files in half precision too are run in single

    def configure(self, config: Any) -> None:
        """Change the tower's configuration before its network is made; most need nothing."""

    def arrange(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens (P, length) and which of them are real, in the order in which the tower reads them."""
        return ids, mask

    def features(self, texts: Sequence[str], batch: int = 16) -> list[Tensor]:
        """Return what the tower says of each prompt: (W,), or, where the model pools the tokens itself, (tokens, W)."""
        return [row for i in range(0, len(texts), batch) for row in self._run(texts[i : i + batch])]

    def _had(self, transformers: Any, weights: dict[str, Tensor] | None, offline: bool) -> tuple[Any, nn.Module]:
        """Return tokenizer and network: of files that are here, if all are; otherwise the hub is asked."""
        here_only = offline or Path(self.source).is_dir()
        with _progress_where_it_is_seen():
            try:
                return self._read(transformers, weights, here=True)
            except DAMAGED:
                if here_only:
                    raise
            return self._read(transformers, weights, here=False)

    def _read(self, transformers: Any, weights: dict[str, Tensor] | None, here: bool) -> tuple[Any, nn.Module]:
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.source, local_files_only=here)
        config = transformers.AutoConfig.from_pretrained(self.source, local_files_only=here)
        self.configure(config)
        return tokenizer, self._build(getattr(transformers, self.architecture), config, weights, here)

    def _build(self, kind: Any, config: Any, weights: dict[str, Tensor] | None, here: bool) -> nn.Module:
        network: nn.Module
        if weights is None:
            network = kind.from_pretrained(self.source, config=config, local_files_only=here)
            return network
        network = kind.from_config(config) if self.architecture == "AutoModel" else kind(config)
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

    def _run(self, texts: Sequence[str]) -> list[Tensor]:
        spec = self.spec
        written = [spec.template.format(text.lower() if spec.lower else text) for text in texts]
        tokens = self._tokenizer(
            written, padding="max_length", truncation=True, max_length=spec.length, return_tensors="pt"
        )
        ids, mask = self.arrange(tokens["input_ids"], tokens["attention_mask"])
        with torch.no_grad():
            answer = self._network(input_ids=ids, attention_mask=mask)
        hidden: Tensor = answer.last_hidden_state
        if spec.pooling == "pooler":
            if getattr(answer, "pooler_output", None) is None:
                raise EcgcamError(f"{self.source}: has no pooler; its model file must say pooling = 'class' or 'last'")
            return list(answer.pooler_output)
        if spec.pooling == "tokens":
            return [row[real.bool()] for row, real in zip(hidden, mask, strict=True)]
        return list(hidden[:, 0] if spec.pooling == "class" else hidden[:, -1])


@contextmanager
def _progress_where_it_is_seen() -> Iterator[None]:
    """Let transformers show its bars (a download takes minutes) only on a terminal, and only where notes are wanted."""
    bars: Any = import_module("transformers.utils.logging")
    shown: bool = bars.is_progress_bar_enabled()
    if shown and not (sys.stderr.isatty() and log.isEnabledFor(logging.INFO)):
        bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def weights_inside(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor] | None:
    """Return the weights that a model's checkpoint holds under a prefix, without it; None if there are none."""
    return {
        key.removeprefix(prefix): value for key, value in state.items() if prefix and key.startswith(prefix)
    } or None


def check_folder(folder: Path | None) -> None:
    """Raise `EcgcamError` if a tower's folder is not there."""
    if folder is not None and not folder.is_dir():
        raise EcgcamError(
            f"{folder}: no such folder; --text-model takes one with a tower's configuration and tokenizer"
        )
