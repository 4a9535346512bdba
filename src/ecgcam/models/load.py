"""From a model's name to an EcgTextModel."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ecgcam.errors import EcgcamError, check_choice
from ecgcam.files import one_line
from ecgcam.models.checkpoint import incompatible_keys, load_into, peeled, read_state
from ecgcam.models.hub import local_checkpoint, sha256_of
from ecgcam.models.model_file import load_spec, text_side_identity, weights_file
from ecgcam.models.text.published import published_text
from ecgcam.models.text.table import NoText, TableEncoder, TextTable, read_table
from ecgcam.models.text.targets import TargetEncoder
from ecgcam.protocol.model import AnswersPrompts, EcgTextModel, TextEncoder
from ecgcam.protocol.reference import find_reference
from ecgcam.protocol.spec import PRECISIONS, LayerSpec, ModelSpec, check_device
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


# What a family's network may offer in addition to signal -> joint embedding.
@runtime_checkable
class AdaptsState(Protocol):
    """A network whose published checkpoints hold more, or other names, than it needs."""

    def adapt_state(self, state: dict[str, Tensor], source: Path) -> dict[str, Tensor]:
        """Return the part of a checkpoint that is this network, under its keys; raise `EcgcamError` if there is none."""


@runtime_checkable
class FixesWindow(Protocol):
    """A network whose checkpoints fit windows of one length."""

    def window_problem(self, samples: int) -> str:
        """Return why a window of so many samples does not fit; empty if it does."""


@runtime_checkable
class MeasuresCells(Protocol):
    """A network whose weights decide where cells lie, so a model file cannot state it."""

    def cell_offset(self, path: str, layer: LayerSpec, samples: int) -> float:
        """Return the sample at the centre of a layer's first cell."""


class MeasuredLayers(dict[str, LayerSpec]):
    """A model's layers, whose offset is measured the first time that one is looked up; `measured` holds those."""

    def __init__(self, layers: Mapping[str, LayerSpec], network: MeasuresCells, samples: int) -> None:
        super().__init__(layers)
        self.measured: dict[str, LayerSpec] = {}
        self._network, self._samples = network, samples

    def __getitem__(self, path: str) -> LayerSpec:
        """Return a layer with its measured offset."""
        declared = super().__getitem__(path)
        if path not in self.measured:
            offset = self._network.cell_offset(path, declared, self._samples)
            self.measured[path] = replace(declared, offset=offset)
        return self.measured[path]


@runtime_checkable
class BringsText(Protocol):
    """A network that contains its text tower."""

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

    Prompts come from the first of these that is available: `embeddings`; the network's own text tower; the published tower
    that the model file names, through transformers. A classifier has outputs instead (`EcgTextModel.text` takes their numbers
    and labels as prompts).

    Parameters
    ----------
    name_or_file : str or path
        ``"mini"``, another name of ``ecgcam models list``, or a model file ending in ``.toml``.
    checkpoint : path or str, optional
        Its weights: a file, a folder or an index of several safetensors files, or ``hf://OWNER/REPO[/FILE][@REVISION]``. Not
        needed for the bundled model.
    text_model : path, optional
        A folder with the configuration and tokenizer of the published text tower; without one it is looked up on the hub.
    device : str
        ``"auto"`` (CUDA if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:N"`` or ``"mps"``.
    embeddings : path, optional
        A table of prompts, an ``.npz`` file with `texts`, `features` and `tower` (see `ecgcam.models.text.table`).
    targets : bool
        Prompts are outputs of the network, by number or by the model file's labels; the score is the output itself.
    offline : bool
        Nothing is downloaded.
    allow_numpy_scalars : bool
        Allow NumPy's scalars and dtypes in a torch checkpoint, and nothing else except tensors.
    precision : str
        ``"fp32"``, or ``"bf16"`` where the processor has it: faster, and less exact (docs/performance.md).

    Raises
    ------
    EcgcamError
        If the model, its checkpoint, its text tower or the table is missing, or they do not fit.
    """
    check_precision(precision, choose_device(device))
    spec = load_spec(name_or_file)
    path = weights_file(spec, None if checkpoint is None else local_checkpoint(checkpoint, offline))
    table = None if embeddings is None else read_table(Path(embeddings))
    found = matched(spec, read_state(path, allow_numpy_scalars), path)
    if found.error is not None:
        raise found.error
    network = found.network
    load_into(network, found.state, path, spec.name)
    if isinstance(network, FixesWindow) and (problem := network.window_problem(spec.input.samples)):
        raise EcgcamError(f"{path}: does not fit {spec.name}: {problem}")
    if isinstance(network, MeasuresCells):
        spec = replace(spec, layers=MeasuredLayers(spec.layers, network, spec.input.samples))
    if Path(spec.file).parent != configs() / "models":
        _check_against(network, spec)
    sha256 = sha256_of(path)
    folder = None if text_model is None else Path(text_model)
    if targets and isinstance(network, AnswersPrompts):
        raise EcgcamError(f"`targets`: {spec.name} scores texts and has no other outputs; use `texts`")
    if targets:
        embedding = spec.similarity == "cosine"
        spec = replace(spec, similarity="dot")
        text: TextEncoder = TargetEncoder(_joint_width(spec, network), spec.labels, spec.name, embedding=embedding)
    else:
        text = _text_side(spec, network, table, found.whole, sha256, folder, offline)
    model = EcgTextModel(spec, network, text, sha256, choose_device(device))
    model.precision, model.targets = precision, targets
    if not targets:
        table_file = None if embeddings is None else Path(embeddings)
        model.text_identity = text_side_identity(load_spec(name_or_file), table_file, folder)
    model.reference = find_reference(path, sha256, model.device)
    return model


class Matched(NamedTuple):
    """A network, and what of a checkpoint is its own: `whole` without names around all keys, `state` without other parts.

    `problems` are the misfits, `error` is why there is no such part.
    """

    network: nn.Module
    whole: dict[str, Tensor]
    state: dict[str, Tensor]
    problems: dict[str, list[str]]
    error: EcgcamError | None


def matched(spec: ModelSpec, state: dict[str, Tensor], source: Path) -> Matched:
    """Return a new network of a model file, with its part of a checkpoint, which may have a name around all of its keys."""
    tried: list[Matched] = []
    for whole in peeled(state):
        network, own = build_network(spec), dict(whole)
        error: EcgcamError | None = None
        try:
            own = network.adapt_state(own, source) if isinstance(network, AdaptsState) else own
        except EcgcamError as refused:
            error = refused
        tried.append(Matched(network, whole, own, incompatible_keys(network, own), error))
        if error is None and not any(tried[-1].problems.values()):
            return tried[-1]
    return min(tried, key=lambda one: len(one.problems["missing"]))


def choose_device(device: str) -> str:
    """Return the device that torch is given: ``auto`` is ``cuda`` where torch sees a CUDA device, otherwise ``cpu``.

    Raises
    ------
    EcgcamError
        If `device` is not a device, or this machine does not have it.
    """
    check_device(device)
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "mps" and not torch.backends.mps.is_available():
        raise EcgcamError("`device` mps: torch sees no Apple GPU here; use `device` cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EcgcamError(f"`device` {device}: torch sees no CUDA device here; use `device` cpu")
    number = int(device.partition(":")[2] or 0)
    if device.startswith("cuda") and number >= (count := torch.cuda.device_count()):
        raise EcgcamError(f"`device` {device}: torch sees {count} CUDA devices, 0 to {count - 1}; choose one of them")
    return device


def check_precision(precision: str, device: str) -> None:
    """Raise `EcgcamError` unless the precision exists and the device computes in it natively."""
    check_choice("precision", precision, PRECISIONS)
    if precision == "bf16" and not _has_bf16(device):
        what = "this processor" if device == "cpu" else "this GPU"
        raise EcgcamError(
            f"`precision` bf16: {what} does not compute in bfloat16, it would be slower; use `precision` fp32"
        )


def _has_bf16(device: str) -> bool:
    if device == "mps":
        return False
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if platform.machine().lower() in {"arm64", "aarch64"}:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    # Without these instructions torch would emulate bfloat16.
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
        raise EcgcamError(f"{spec.name}: no such family {spec.family!r}; choose from {', '.join(FAMILIES)}")
    module, function = FAMILIES[spec.family].split(":")
    build = getattr(import_module(f"ecgcam.models.families.{module}"), function)
    _check_options(spec, build)
    try:
        # Without memory or values: the checkpoint has both, and drawing weights would change the caller's random state.
        with torch.device("meta"), _Unfilled():
            network: nn.Module = build(**spec.options)
    except EcgcamError as error:
        raise EcgcamError(f"{spec.file or spec.name}: {error}") from error
    except (TypeError, ValueError, AssertionError, RuntimeError, ArithmeticError, LookupError) as error:
        raise EcgcamError(
            f"{spec.file or spec.name}: options: do not fit together ({one_line(error)}); correct them"
        ) from error
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
        raise EcgcamError(f"`text_model` {folder}: {spec.name} takes no published text tower; leave it out")
    if table is None and spec.text == "table":
        return NoText(spec.name)
    # The slots of such a network have no meaning in a table.
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
    except EcgcamError:
        raise
    except (RuntimeError, ValueError) as error:
        raise EcgcamError(
            f"{spec.file or spec.name}: input: {len(spec.input.leads)} leads of {spec.input.samples} samples (fs x "
            f"seconds) do not fit this network ({one_line(error)}); change them or its options"
        ) from error


def _projection(network: ProjectsText) -> Callable[[Tensor], Tensor]:
    parameters = cast("nn.Module", network)

    def project(features: Tensor) -> Tensor:
        return network.project_text(features.to(next(parameters.parameters()).device))

    return project
