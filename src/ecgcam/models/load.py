"""From a model's name to an EcgTextModel."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ecgcam.errors import EcgcamError
from ecgcam.files import one_line
from ecgcam.models.base import AnswersPrompts, EcgTextModel, TextEncoder
from ecgcam.models.checkpoint import load_into, read_state, sha256_of
from ecgcam.models.reference import find_reference
from ecgcam.models.spec import PRECISIONS, ModelSpec, load_spec
from ecgcam.models.text.published import published_text
from ecgcam.models.text.table import NoText, TableEncoder, TextTable, read_table
from ecgcam.models.text.targets import TargetEncoder
from ecgcam.resources import configs

# Family -> module:function of `ecgcam.models.families`. The function takes the model file's options and returns the network.
FAMILIES = {
    "mini": "mini:build",
    "merl": "merl:build",
    "melp": "melp:build",
    "d-beta": "dbeta:build",
    "ecg-fm": "ecgfm:build",
    "ecg-coca": "coca:build",
    "esi": "esi:build",
    "echoing-ecg": "echoing:build",
    "net1d": "net1d:build",
    "ribeiro": "ribeiro:build",
    "xresnet1d": "xresnet:build",
    "ked": "ked:build",
    "st-mem": "leadpatches:build_st_mem",
    "anyecg": "leadpatches:build_anyecg",
    "hubert-ecg": "hubert:build",
}


# What a family's network may offer beside signal -> joint embedding.
@runtime_checkable
class AdaptsState(Protocol):
    """A network that fits part of its published checkpoints."""

    def adapt_state(self, state: dict[str, Tensor], source: Path) -> dict[str, Tensor]:
        """Return the part of a checkpoint that is this network, or say why there is none."""


@runtime_checkable
class BringsText(Protocol):
    """A network with a text tower of its own."""

    def text_encoder(self) -> TextEncoder:
        """Return the text side."""


@runtime_checkable
class ProjectsText(Protocol):
    """A network whose checkpoint holds the projection of a published text tower's features.

    `text_width` is how many numbers a prompt's features are; 0 where they are tokens, as many as the prompt has.
    """

    text_width: int

    def project_text(self, features: Tensor) -> Tensor:
        """Return joint embeddings (P, D), before L2, of text features (P, text_width), or of tokens (P, N, W)."""


def load_model(
    name_or_file: str | Path = "mini",
    checkpoint: str | Path | None = None,
    text_model: str | Path | None = None,
    device: str = "auto",
    *,
    embeddings: str | Path | None = None,
    targets: bool = False,
    offline: bool = False,
    allow_numpy_scalars: bool = False,
    precision: str = "fp32",
) -> EcgTextModel:
    """Load a model by name or model file.

    Prompts come from the first of these that there is: `embeddings`; the network's own text tower; the published tower that the
    model file names, through transformers. A classifier has outputs in their place (`EcgTextModel.text` takes their numbers and
    labels as prompts).

    Parameters
    ----------
    name_or_file : str or path
        ``"mini"``, another name of ``ecgcam models list``, or a model file ending in ``.toml``.
    checkpoint : path, optional
        Its weights; not needed for the model that ecgcam brings.
    text_model : path, optional
        A folder with the configuration and tokenizer of the published text tower; without one it is looked up on the hub.
    device : str
        ``"auto"`` (CUDA if there is one), ``"cpu"`` or ``"cuda"``.
    embeddings : path, optional
        A table of prompts, an ``.npz`` file with `texts`, `features` and `tower` (see `ecgcam.models.text.table`).
    targets : bool
        Prompts are outputs of the network, by number or by the model file's labels; the score is the output itself.
    offline : bool
        Nothing is downloaded.
    allow_numpy_scalars : bool
        Let NumPy's scalars and dtypes into a torch checkpoint, and nothing else beside tensors.
    precision : str
        ``"fp32"``, or ``"bf16"`` where the processor has it: faster, and less exact (docs/performance.md).

    Raises
    ------
    EcgcamError
        If the model, its checkpoint, its text tower or the table is missing, or they do not fit.
    """
    check_precision(precision, choose_device(device))
    spec = load_spec(name_or_file)
    path = _weights(spec, None if checkpoint is None else Path(checkpoint))
    table = None if embeddings is None else read_table(Path(embeddings))
    network = build_network(spec)
    whole = read_state(path, allow_numpy_scalars)
    state = network.adapt_state(whole, path) if isinstance(network, AdaptsState) else whole
    load_into(network, state, path, spec.name)
    if Path(spec.file).parent != configs() / "models":
        _check_against(network, spec)
    sha256 = sha256_of(path)
    folder = None if text_model is None else Path(text_model)
    if targets and isinstance(network, AnswersPrompts):
        raise EcgcamError(f"--target: {spec.name} answers texts and has no other outputs; ask it with --text")
    if targets:
        spec = replace(spec, similarity="dot")
        text: TextEncoder = TargetEncoder(_joint_width(spec, network), spec.labels, spec.name)
    else:
        text = _text_side(spec, network, table, whole, sha256, folder, offline)
    model = EcgTextModel(spec, network, text, sha256, choose_device(device))
    model.precision = precision
    model.reference = find_reference(path, sha256, model.device)
    return model


def choose_device(device: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``; refuse a device that is not there."""
    if device not in {"auto", "cpu", "cuda"}:
        raise EcgcamError(f"--device {device}: choose from auto, cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise EcgcamError("--device cuda: torch sees no CUDA device here; use --device cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def check_precision(precision: str, device: str) -> None:
    """Raise `EcgcamError` unless there is such a precision, and the device computes in it rather than imitating it."""
    if precision not in PRECISIONS:
        raise EcgcamError(f"--precision {precision}: choose from {', '.join(PRECISIONS)}")
    if precision == "bf16" and not _has_bf16(device):
        what = "this GPU" if device == "cuda" else "this processor"
        raise EcgcamError(
            f"--precision bf16: {what} does not compute in bfloat16, it would be slower; use --precision fp32"
        )


def _has_bf16(device: str) -> bool:
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if platform.machine().lower() in {"arm64", "aarch64"}:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    # Of torch's own accord: processors without these it would let imitate bfloat16.
    known = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(supported() for supported in known if supported is not None)


def build_network(spec: ModelSpec) -> nn.Module:
    """Return a model's network on the ``meta`` device: shapes without numbers.

    Raises
    ------
    EcgcamError
        If there is no such family, or the options do not fit it.
    """
    if spec.family not in FAMILIES:
        raise EcgcamError(f"{spec.name}: no such family {spec.family!r}; ecgcam knows {', '.join(FAMILIES)}")
    module, function = FAMILIES[spec.family].split(":")
    build = getattr(import_module(f"ecgcam.models.families.{module}"), function)
    _check_options(spec, build)
    try:
        # Without memory or numbers: the checkpoint brings both, and drawing weights would move the caller's random state.
        with torch.device("meta"), _Unfilled():
            network: nn.Module = build(**spec.options)
    except EcgcamError as error:
        raise EcgcamError(f"{spec.file or spec.name}: {error}") from error
    except (TypeError, ValueError, AssertionError, RuntimeError, ArithmeticError, LookupError) as error:
        raise EcgcamError(f"{spec.file or spec.name}: options: do not fit together ({one_line(error)})") from error
    return network


def _check_options(spec: ModelSpec, build: Callable[..., nn.Module]) -> None:
    """Raise `EcgcamError` if the family lacks an option, needs another, or one is of another kind than its default."""
    known = signature(build).parameters
    where = spec.file or spec.name
    for key, value in spec.options.items():
        if key not in known:
            raise EcgcamError(f"{where}: options.{key}: is unknown; the family {spec.family} allows {', '.join(known)}")
        default = known[key].default
        wanted = {bool: "true or false", int: "a positive whole number", tuple: "a list of positive whole numbers"}.get(
            type(default)
        )
        if wanted is None:
            continue
        parts = value if type(default) is tuple and isinstance(value, Sequence) and len(value) else [value]
        kind = bool if type(default) is bool else int
        listed = isinstance(value, list | tuple) == (type(default) is tuple)
        if not listed or not all(type(part) is kind and (kind is bool or part > 0) for part in parts):
            raise EcgcamError(f"{where}: options.{key}: must be {wanted}, not {value!r}")
    for key, parameter in known.items():
        if parameter.default is Parameter.empty and key not in spec.options:
            raise EcgcamError(f"{where}: options.{key}: is missing; the family {spec.family} needs it")


class _Unfilled(TorchFunctionMode):
    """Within it, weights are not initialised: on ``meta`` there is nothing to fill, and trying imports torch's compiler (1 s)."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Pass functions of torch.nn.init over, and draw nothing."""
        kwargs = kwargs or {}
        if func in {torch.rand, torch.randn}:
            func = torch.empty
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _text_side(
    spec: ModelSpec,
    network: nn.Module,
    table: TextTable | None,
    state: dict[str, Tensor],
    sha256: str,
    folder: Path | None,
    offline: bool,
) -> TextEncoder:
    if table is None and isinstance(network, BringsText):
        return network.text_encoder()
    if table is None and spec.text == "table" and isinstance(network, ProjectsText) and spec.text_model:
        return published_text(spec.text_model, spec.tower, _projection(network), state, sha256, folder, offline)
    if folder is not None:
        raise EcgcamError(f"--text-model {folder}: {spec.name} takes no published text tower")
    if table is None and spec.text == "table":
        return NoText(spec.name)
    # What stands in a slot of this network means nothing in a table.
    joint_width = 0 if isinstance(network, AnswersPrompts) else _joint_width(spec, network)
    if table is None:
        return TargetEncoder(joint_width, spec.labels, spec.name)
    if not isinstance(network, ProjectsText):
        return TableEncoder(table, joint_width, model=spec.name)
    return TableEncoder(
        table, joint_width, network.text_width, _projection(network), model=spec.name, tower=spec.text_model
    )


def _check_against(network: nn.Module, spec: ModelSpec) -> None:
    """Raise `EcgcamError` if the user's own model file does not describe its network: the layers, or the size of the window."""
    known = dict(network.named_modules())
    for layer in spec.layers:
        if layer not in known:
            near = ", ".join(get_close_matches(layer, known, 3, 0.3))
            raise EcgcamError(f"{spec.file}: layers.{layer!r}: the network has no such module; near it are {near}")
    _joint_width(spec, network)


def _joint_width(spec: ModelSpec, network: nn.Module) -> int:
    """Return the width of the joint space, by one signal; refuse a window that does not go through the network."""
    silence = torch.zeros(1, len(spec.input.leads), spec.input.samples)
    try:
        with torch.no_grad():
            return int(network.eval()(silence).shape[-1])
    except (RuntimeError, ValueError) as error:
        raise EcgcamError(
            f"{spec.file or spec.name}: input: {len(spec.input.leads)} leads of {spec.input.samples} samples (fs x seconds) do "
            f"not go through this network ({one_line(error)}); they must fit its options"
        ) from error


def _projection(network: ProjectsText) -> Callable[[Tensor], Tensor]:
    parameters = cast("nn.Module", network)

    def project(features: Tensor) -> Tensor:
        return network.project_text(features.to(next(parameters.parameters()).device))

    return project


def _weights(spec: ModelSpec, checkpoint: Path | None) -> Path:
    if checkpoint is not None:
        return checkpoint
    if not spec.weights:
        where = f" (published at {spec.source})" if spec.source else ""
        raise EcgcamError(f"{spec.name}: its weights are not part of ecgcam; give them with --checkpoint FILE{where}")
    return Path(__file__).resolve().parent / "weights" / spec.weights
