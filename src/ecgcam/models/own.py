"""A model of the user's own: any network that gives an embedding, outputs, or scores of texts, as an EcgTextModel."""

from __future__ import annotations

import hashlib
import inspect
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ecgcam.errors import EcgcamError
from ecgcam.files import one_line
from ecgcam.models.checkpoint import read_state
from ecgcam.models.own_layers import give_layers
from ecgcam.models.own_network import (
    SLOTS,
    JointNetwork,
    OwnNetwork,
    modules_of,
    prepare_weights,
)
from ecgcam.models.text.targets import TargetEncoder
from ecgcam.protocol.attention import AttentionSpec
from ecgcam.protocol.model import EcgTextModel, TextEncoder, buffers_kept, frozen
from ecgcam.protocol.spec import InputSpec, LayerSpec, ModelSpec

log = logging.getLogger("ecgcam")
# Further passes of a network that draws random numbers, to see whether its outputs change.
_DRAWS = 32
# Notes on what a network does.
RANDOM = (
    "its outputs are random: the same signal gives others the next time (a dropout that stays on?); maps repeat because the "
    "random numbers do, but are those of one draw"
)
BATCH_DEPENDENT = (
    "signals of one batch change each other (a normalisation over the batch?); maps depend on what else is in the batch"
)


def load_own(
    name: str,
    device: str = "cpu",
    layer: str | None = None,
    targets: bool | None = False,
    *,
    checkpoint: str | Path | None = None,
    text_model: str | Path | None = None,
    allow_numpy_scalars: bool = False,
) -> EcgTextModel:
    """Call the user's function, ``package.module:function``, and make what it returns explainable; see `own_model`.

    With `checkpoint` the function gets the file's tensors, by their names without the usual wrappers. With `targets` None the
    prompts are the outputs where the network has neither ``encode_text`` nor ``score_texts``.
    """
    if text_model is not None:
        raise EcgcamError(f"`text_model` {text_model}: {name} brings its own text side; load the tower in it")
    own = _call(name, checkpoint, allow_numpy_scalars)
    if targets is None:
        targets = not any(callable(getattr(own, reads, None)) for reads in ("encode_text", "score_texts"))
    return own_model(own, name, device, layer, targets)


def own_model(
    network: Any,
    name: str = "own",
    device: str = "cpu",
    layer: str | None = None,
    targets: bool = False,
    *,
    input: InputSpec | None = None,  # noqa: A002 - the word of the model file
    layers: Mapping[str, LayerSpec] | None = None,
    labels: Sequence[str] | Mapping[Any, Any] | None = None,
    similarity: str | None = None,
    attention: Mapping[str, AttentionSpec] | None = None,
) -> EcgTextModel:
    """Make any network explainable, as ``--model package.module:function`` does with what the function returns.

    Parameters
    ----------
    network : object
        One of: ``encode_signal(x: (B, L, T)) -> (B, D)`` and ``encode_text(list of str) -> (P, D)``; with `targets`, a module
        whose outputs are explained, logits (B, D), or (B, D, steps) along time (``forward``, or ``encode_signal`` where it has
        no ``forward``); ``score_texts(x, texts) -> (B, P)``, for a model that reads both together. An object that is not a
        module has one as ``network``.
    name, device : str
        For messages; where it runs.
    layer : str, optional
        The target layer, several separated by commas; default: the first of `layers`, or the last whose cells can be located.
    targets : bool
        Whether prompts are the outputs.
    input, layers, labels, similarity, attention
        The window and its units (default 500 Hz, 10 s, twelve leads, mV); layouts by path; names of the outputs, in order or
        with their numbers; ``cosine`` (default) or ``dot``; the role of attention modules, by path (default: all that run;
        self-attention where there are as many queries as keys). Each may be an attribute of `network` instead.

    Returns
    -------
    EcgTextModel
        The network itself is left as it was: mode, requires_grad, buffers.
    """
    own = getattr(network, "_orig_mod", network)  # of torch.compile: hooks reach what it wraps
    whole = own if isinstance(own, nn.Module) else getattr(own, "network", None)
    whole = getattr(whole, "_orig_mod", whole)
    if not isinstance(whole, nn.Module):
        raise EcgcamError(
            f"`model` {name}: returned {type(own).__name__}, which is not an nn.Module and has no nn.Module as "
            "`network`; return the network"
        )
    others = [module for module in modules_of(own) if module is not whole and module not in set(whole.modules())]
    for module in (whole, *others):
        prepare_weights(module)
    source = _input(own, input, name)
    joint = not targets and callable(getattr(own, "score_texts", None))
    signal = (
        JointNetwork(own, whole, others, name)
        if joint
        else OwnNetwork(_encoder(own, whole, targets, name), whole, others, name, dense=targets)
    )
    modes = [(module, module.training) for module in signal.modules()]
    try:
        signal.to(device).eval()
        given, notes, draws = _tried(signal, source, device, name)
        spec = ModelSpec(
            _text(own, "name", name), "own", "", "none", "", source, {}, "",
            "dot" if targets or joint else _similarity(own, similarity, name),
            labels=_labels(getattr(own, "labels", ()) if labels is None else labels, name),
        )  # fmt: skip
        text = _text_side(own, spec, signal, given, targets)
        model = EcgTextModel(spec, signal, text, _sha256(signal), device)
        model.notes, model.draws = tuple(notes), draws
        signal.attention = _attention(getattr(own, "attention", None) if attention is None else attention, signal, name)
        declared = layers if layers is not None else getattr(own, "layers", None)
        give_layers(model, signal, declared if isinstance(declared, Mapping) else {}, layer)
    finally:
        for module, training in modes:
            module.training = training
    for note in model.notes:
        log.warning("%s: %s", spec.name, note)
    return model


def _attention(given: Any, signal: OwnNetwork, name: str) -> dict[str, AttentionSpec]:
    if not isinstance(given, Mapping):
        return {}  # a module of that name is not a declaration
    for path, what in given.items():
        if not isinstance(what, AttentionSpec) or not signal.has_module(path):
            raise EcgcamError(
                f"`model` {name}: `attention` {path!r}: must name a module of the network, and give its AttentionSpec"
            )
    return dict(given)


def _input(own: Any, given: InputSpec | None, name: str) -> InputSpec:
    source = given if given is not None else getattr(own, "input", None)
    if source is None or isinstance(source, nn.Module):
        log.info(
            "%s: no `input` is declared, so 500 Hz, 10 s, twelve leads in canonical order, mV, and a mask at the "
            "lead's median are assumed",
            name,
        )
        return InputSpec()
    if not isinstance(source, InputSpec):
        raise EcgcamError(
            f"`model` {name}: `input` is {type(source).__name__}; it must be an InputSpec (`ecgcam docs own-model`)"
        )
    return source


def _encoder(own: Any, whole: nn.Module, targets: bool, name: str) -> Callable[[Tensor], Any]:
    """Return what makes embeddings of signals: with `targets` the forward pass of a classifier, if it has one of its own."""
    encode = getattr(own, "encode_signal", None)
    if targets:
        if isinstance(own, nn.Module) and _runs_alone(own):
            return own.__call__
        return encode if callable(encode) else whole.__call__
    for needed in ("encode_signal", "encode_text"):
        if not callable(getattr(own, needed, None)):
            raise EcgcamError(
                f"`model` {name}: its result has no {needed}; see the example in `ecgcam docs own-model`, or use "
                "`targets` for a classifier"
            )
    chosen: Callable[[Tensor], Any] = own.encode_signal
    return chosen


def _runs_alone(own: nn.Module) -> bool:
    """Whether a module has a forward pass that takes the signal and nothing else."""
    forward = getattr(type(own), "forward", None)  # TorchScript has none on its class
    if "forward" not in vars(own) and getattr(forward, "__name__", "") == "_forward_unimplemented":
        return False
    return _takes_one(own.forward)


def _takes_one(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters if p.kind in kinds and p.default is inspect.Parameter.empty]
    possible = [p for p in parameters if p.kind in {*kinds, inspect.Parameter.VAR_POSITIONAL}]
    return len(needed) <= 1 <= len(possible)


def _similarity(own: Any, given: str | None, name: str) -> Any:
    similarity = given if given is not None else getattr(own, "similarity", "cosine")
    if not isinstance(similarity, str):
        similarity = "cosine"  # a module or a function of that name is not a declaration
    if similarity not in {"cosine", "dot"}:
        raise EcgcamError(f"`model` {name}: similarity {similarity!r}; choose cosine or dot")
    return similarity


def _text(own: Any, attribute: str, default: str) -> str:
    value = getattr(own, attribute, default)
    return value if isinstance(value, str) else default


def _labels(given: Any, name: str) -> tuple[str, ...]:
    """Return the names of the outputs in order, from a sequence, name -> number, or number -> name."""
    if isinstance(given, nn.Module) or callable(given) or isinstance(given, str):
        return ()
    if not isinstance(given, Mapping):
        return tuple(str(label) for label in given)
    by_number = {value: key for key, value in given.items()}
    if all(isinstance(key, int) for key in given):
        by_number = dict(given)
    if sorted(by_number, key=str) != sorted(range(len(given)), key=str):
        raise EcgcamError(
            f"`model` {name}: `labels` must give each output one name: a list in order, or a dict of the numbers 0 to "
            f"{len(given) - 1}"
        )
    return tuple(str(by_number[number]) for number in range(len(given)))


def _tried(signal: OwnNetwork, source: InputSpec, device: str, name: str) -> tuple[Tensor, list[str], bool]:
    """Run a few signals: its outputs, notes for the reader, and whether it draws random numbers."""
    x = 10 * torch.randn(4, len(source.leads), source.samples, generator=torch.Generator().manual_seed(0))
    x = x.to(device)
    cuda = [torch.device(device).index or 0] if torch.device(device).type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=cuda):
        with buffers_kept(signal):
            given = _in_its_dtype(signal, x)  # before anything that needs weights: lazy modules get theirs here
        if len(given) != len(x):
            raise EcgcamError(
                f"`model` {name}: signals {tuple(x.shape)} gave {tuple(given.shape)}; it must be a tensor (B, D), or (B, D, T) "
                "along time"
            )
        size = max(float(given.abs().max()), 1e-12)
        slack = (1e-4 if signal.dtype != torch.float16 else 1e-2) * size
        with frozen(signal):
            before = _generators(cuda)
            again, alone = signal.given(x), signal.given(x[:1])
            drawn = any(not torch.equal(*pair) for pair in zip(before, _generators(cuda), strict=True))
            varies = _differ(given, again, slack)
            # A layer that is left out at random is often not left out several times in a row.
            if drawn:
                varies = varies or any(_differ(alone, signal.given(x[:1]), slack) for _ in range(_DRAWS))
    notes = []
    if varies:
        notes.append(RANDOM)
    elif _differ(given[:1], alone, 10 * slack):
        notes.append(BATCH_DEPENDENT)
    return given, notes, drawn or varies


def _differ(outputs: Tensor, others: Tensor, slack: float) -> bool:
    return not torch.allclose(outputs, others, rtol=0, atol=slack, equal_nan=True)


def _generators(cuda: Sequence[int]) -> list[Tensor]:
    """Return the states of torch's generators."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(number) for number in cuda)]


def _in_its_dtype(signal: OwnNetwork, x: Tensor) -> Tensor:
    """Run signals in float32; where the network takes another kind of number alone, in that from now on."""
    try:
        return signal.given(x)
    except EcgcamError:
        weights = [weight for weight in signal.parameters() if not is_lazy(weight)]
        kinds = {weight.dtype for weight in weights if weight.is_floating_point() and weight.dtype != torch.float32}
        if len(kinds) != 1:
            raise
        signal.dtype = kinds.pop()
        return signal.given(x)


def _text_side(own: Any, spec: ModelSpec, signal: OwnNetwork, given: Tensor, targets: bool) -> TextEncoder:
    if isinstance(signal, JointNetwork):
        return _JointText(signal)
    if not targets:
        return _Text(own, spec.name, given.shape[1])
    if spec.labels and len(spec.labels) != given.shape[1]:
        raise EcgcamError(
            f"`targets`: {spec.name} has {given.shape[1]} outputs and {len(spec.labels)} `labels`; name every output, or none"
        )
    if float(given.min()) >= 0 and float(given.max()) <= 1:
        log.info(
            "%s: its outputs lie between 0 and 1, as probabilities do; explain logits, which do not saturate", spec.name
        )
    steps = given.shape[2] if given.ndim == 3 else 1
    where = "its `labels` (see `ecgcam docs own-model`)"
    return TargetEncoder(given.shape[1], spec.labels, spec.name, steps, spec.input.seconds, where)


class _JointText:
    """The text side of a joint model: a prompt is the place of its score in the embedding."""

    def __init__(self, network: JointNetwork) -> None:
        self._network = network

    def encode(self, texts: Sequence[str]) -> Tensor:
        rows = torch.zeros(len(texts), SLOTS)
        for row, text in zip(rows, texts, strict=True):
            row[self._network.slot(text)] = 1.0
        return rows

    def has(self, text: str) -> bool:  # noqa: ARG002
        return True

    def warnings(self, text: str) -> list[str]:  # noqa: ARG002
        return []


class _Text:
    """The user's text side."""

    def __init__(self, own: Any, name: str, width: int) -> None:
        self._encode, self._name, self._width = own.encode_text, name, width

    def encode(self, texts: Sequence[str]) -> Tensor:
        try:
            embedded = self._encode(list(texts))
        except Exception as error:
            raise EcgcamError(
                f"`model` {self._name}: encode_text failed ({type(error).__name__}: {one_line(error)}); `debug` shows where"
            ) from error
        wanted = (len(texts), self._width)
        if not isinstance(embedded, Tensor) or embedded.shape != wanted:
            what = tuple(embedded.shape) if isinstance(embedded, Tensor) else type(embedded).__name__
            raise EcgcamError(
                f"`model` {self._name}: encode_text gave {what} for {len(texts)} prompts; it must be a tensor (P, "
                f"D), with the D of encode_signal: {wanted}"
            )
        return embedded

    def has(self, text: str) -> bool:  # noqa: ARG002
        return True

    def warnings(self, text: str) -> list[str]:  # noqa: ARG002
        return []


def _call(name: str, checkpoint: str | Path | None, allow_numpy_scalars: bool) -> Any:
    module, _, function = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does, so that a file in the folder is found
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise EcgcamError(f"`model` {name}: cannot be imported ({error}); write package.module:function") from error
    except Exception as error:  # the user's module runs when it is imported
        raise EcgcamError(
            f"`model` {name}: {module} fails when imported ({type(error).__name__}: {one_line(error)}); `debug` shows where"
        ) from error
    given = []
    if checkpoint is not None:
        if not callable(found) or not _takes_one(found):
            raise EcgcamError(
                f"`checkpoint` {checkpoint}: {name} takes no weights; let the function take them, `def {function}(state): ...`, "
                "or load them in it and leave `checkpoint` out"
            )
        given = [read_state(Path(checkpoint), allow_numpy_scalars)]
    try:
        return found(*given)
    except EcgcamError:
        raise
    except Exception as error:
        raise EcgcamError(
            f"`model` {name}: the function failed ({type(error).__name__}: {one_line(error)}); `debug` shows where"
        ) from error


def _sha256(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode())
        if isinstance(value, Tensor) and value.numel():
            digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
