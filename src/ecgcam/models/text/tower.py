"""What published text towers share: tokenizer, weights and pooling, through transformers (extra ``ecgcam[text]``)."""

from __future__ import annotations

import logging
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
from ecgcam.models.hub import EXTRA, hub_problem, offline_hub
from ecgcam.protocol.spec import Pooling, TowerSpec

log = logging.getLogger("ecgcam")

# What transformers raises when a tower's files are missing, damaged, or of another tower.
DAMAGED = (
    OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ImportError, EOFError, pickle.UnpicklingError,
    SafetensorError,
)  # fmt: skip


class PublishedTower:
    """A text tower: prompts -> features, (W,) or (tokens, W) each, on the CPU. Each kind is a subclass in its own file.

    Parameters
    ----------
    source : str
        A name on the hub, or a local folder with configuration and tokenizer.
    spec : TowerSpec
        Case, template, cut and pooling of prompts.
    weights : dict of Tensor, optional
        The tower's own weights, from inside the model's checkpoint; without them those of `source`.
    offline : bool
        Nothing is downloaded.

    Raises
    ------
    EcgcamError
        If transformers is not installed, the tower cannot be loaded, or the weights do not fit it.
    """

    # The class of transformers that is made of a configuration.
    architecture: ClassVar[str] = "AutoModel"
    # Whether a prompt must be padded to the full length: only where the reading position lies behind the padding.
    padded: ClassVar[bool] = False

    def __init__(
        self, source: str, spec: TowerSpec, weights: dict[str, Tensor] | None = None, offline: bool = False
    ) -> None:
        self.source, self.spec = source, spec
        try:
            import transformers
        except ImportError as error:
            raise EcgcamError(f"`texts`: {source} is read by transformers, which is not installed: {EXTRA}") from error
        try:
            with offline_hub(offline):
                self._tokenizer, self._network = self._load_local_or_hub(transformers, weights, offline)
        except EcgcamError:
            raise
        except DAMAGED as error:
            where = (
                "is not on this machine, and `offline` forbids a download"
                if offline and not Path(source).is_dir()
                else f"cannot be had ({one_line(error)})"
            )
            raise EcgcamError(
                f"{source}: the text tower {where}; give its folder with `text_model` DIR, or a table with `embeddings`"
            ) from error
        self._network.eval().float().requires_grad_(False)  # files in half precision too are run in single

    def configure(self, config: Any) -> None:
        """Change the tower's configuration before its network is made; by default nothing."""

    def arrange(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens (P, N) and which of them are real, in the order in which the tower reads them."""
        return ids, mask

    def features(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the features of each prompt: (W,), or, where the model pools the tokens itself, (tokens, W)."""
        return [self._run(text) for text in texts]

    def _load_local_or_hub(
        self, transformers: Any, weights: dict[str, Tensor] | None, offline: bool
    ) -> tuple[Any, nn.Module]:
        """Return tokenizer and network from local files if all are there, else from the hub."""
        here_only = offline or Path(self.source).is_dir()
        with _progress_where_it_is_seen():
            try:
                return self._read(transformers, weights, here=True)
            except EcgcamError:
                raise
            except DAMAGED:
                if here_only:
                    raise
            problem = hub_problem()
            if problem is not None:
                raise EcgcamError(
                    f"{self.source}: the text tower is not on this machine, and {problem}; give its folder with `text_model`, or "
                    "a table that `ecgcam embed` wrote elsewhere with `embeddings`"
                )
            return self._read(transformers, weights, here=False)

    def _read(self, transformers: Any, weights: dict[str, Tensor] | None, here: bool) -> tuple[Any, nn.Module]:
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.source, local_files_only=here)
        config = transformers.AutoConfig.from_pretrained(self.source, local_files_only=here)
        self.configure(config)
        return tokenizer, self._build(getattr(transformers, self.architecture), config, weights, here)

    def _build(self, kind: Any, config: Any, weights: dict[str, Tensor] | None, here: bool) -> nn.Module:
        network: nn.Module
        pooler = self.spec.pooling == "pooler"
        # Networks draw their first weights from the caller's random state, which is left as it was.
        with torch.random.fork_rng(devices=[]):
            if weights is None:
                network = kind.from_pretrained(self.source, config=config, local_files_only=here)
            else:
                network = kind.from_config(config) if self.architecture == "AutoModel" else kind(config)
        if not pooler and getattr(network, "pooler", None) is not None:
            # Published towers without one have no weights for it.
            network.pooler = None  # type: ignore[assignment]
        if weights is not None:
            self._fill(network, weights)
        return network

    def _fill(self, network: nn.Module, weights: dict[str, Tensor]) -> None:
        """Load weights; a tensor that has two names needs only one of them, as `accelerate` saves it."""
        wanted = network.state_dict()
        present = {value.data_ptr(): key for key, value in wanted.items() if key in weights}
        chosen = {key: key if key in weights else present.get(value.data_ptr()) for key, value in wanted.items()}
        # Older files keep the numbers 0, 1, 2, ... as if they were weights.
        missing = [key for key, name in chosen.items() if name is None and not key.endswith("position_ids")]
        found = {key: weights[name] for key, name in chosen.items() if name is not None}
        misshapen = [key for key, value in found.items() if value.shape != wanted[key].shape]
        if missing or misshapen:
            raise EcgcamError(
                f"{self.source}: the text tower's weights in the checkpoint do not fit its configuration "
                f"({', '.join([*missing, *misshapen][:3])}); give the folder of the tower it was trained with, `text_model` DIR"
            )
        network.load_state_dict({key: value.to(wanted[key].dtype) for key, value in found.items()}, strict=False)

    def _run(self, text: str) -> Tensor:
        """Return the features of one prompt, which do not depend on the length of others."""
        spec = self.spec
        written = spec.template.format(text.lower() if spec.lower else text)
        padding = {"padding": "max_length"} if self.padded else {}
        tokens = self._tokenizer([written], truncation=True, max_length=spec.length, return_tensors="pt", **padding)
        ids, mask = self.arrange(tokens["input_ids"], tokens["attention_mask"])
        with torch.no_grad():
            answer = self._network(input_ids=ids, attention_mask=mask)
        if spec.pooling == "pooler":
            if getattr(answer, "pooler_output", None) is None:
                raise EcgcamError(f"{self.source}: has no pooler; its model file must name another pooling")
            pooled: Tensor = answer.pooler_output[0]
            return pooled
        return pool(answer.last_hidden_state[0], mask[0].bool(), spec.pooling)


def pool(hidden: Tensor, real: Tensor, pooling: Pooling) -> Tensor:
    """Return what is read of a prompt's last hidden states (N, W): (W,), or, for ``tokens``, (n, W) of the n real tokens.

    Parameters
    ----------
    hidden : Tensor, (N, W)
        Of every position.
    real : bool Tensor, (N,)
        False at padding.
    pooling : str
        ``class``, ``mean``, ``eos``, ``last`` or ``tokens``; see `ecgcam.protocol.spec.TowerSpec`.
    """
    if pooling == "tokens":
        return hidden[real]
    if pooling == "mean":
        return hidden[real].mean(dim=0)
    if pooling == "eos":
        return hidden[real][-1]
    return hidden[0] if pooling == "class" else hidden[-1]


@contextmanager
def _progress_where_it_is_seen() -> Iterator[None]:
    """Let transformers show progress bars (a download takes minutes) only on a terminal, and only where notes are shown."""
    bars: Any = import_module("transformers.utils.logging")
    shown: bool = bars.is_progress_bar_enabled()
    if shown and not (sys.stderr.isatty() and log.isEnabledFor(logging.INFO)):
        bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def weights_inside(state: dict[str, Tensor], prefixes: Sequence[str]) -> dict[str, Tensor] | None:
    """Return a checkpoint's tensors under any of the prefixes, without it; None if there are none.

    A tensor that is there under two names is taken from the first prefix that has it.
    """
    found: dict[str, Tensor] = {}
    for prefix in prefixes:
        for key, value in state.items():
            if key.startswith(prefix):
                found.setdefault(key.removeprefix(prefix), value)
    return found or None


def check_folder(folder: Path | None) -> None:
    """Raise `EcgcamError` if a tower's folder is not there."""
    if folder is not None and not folder.is_dir():
        raise EcgcamError(
            f"{folder}: no such folder; `text_model` takes one with a tower's configuration and tokenizer"
        )
