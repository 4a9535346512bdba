"""All thirteen families other than MERL against what their authors' code computes, from files as the authors save them.

MERL's references are in `test_merl_reference.py`. Small networks run every time, the large ones among the slow tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tests.models.references import (
    OTHER_PROCESSOR,
    SIGNAL,
    TEXT,
    Family,
    fill_signal,
    fill_two,
    filled,
    keys_of,
    read,
    relative,
    signals,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

from ecgcam.attribution.cam import grad_cam
from ecgcam.attribution.hooks import capture, input_gradient
from ecgcam.models.checkpoint import read_state
from ecgcam.models.families.ked import SLOTS, KedNetwork
from ecgcam.models.load import load_model
from ecgcam.models.model_file import load_spec
from ecgcam.models.recognition import fit_to
from ecgcam.pipeline.preparation import prepare
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import windows_of
from ecgcam.records import read_record

pytestmark = pytest.mark.shared


def each(families: dict[str, Family]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) if family.large else name for name, family in families.items()]


def load(family: Family, state: dict[str, Tensor], folder: Path, **more: Any) -> EcgTextModel:
    """Save a state dict as the family's authors do, and load it."""
    path = folder / "published.pt"
    torch.save(family.wrap(state), path)
    assert fit_to(load_spec(family.model), read_state(path), path).whole
    return load_model(family.model, path, device="cpu", **more)


@pytest.mark.parametrize("name", each(SIGNAL))
def test_a_signal_family_computes_what_its_authors_code_does(name: str, shared: Path, tmp_path: Path) -> None:
    family, expected = SIGNAL[name], read(shared / f"reference/families_signal/{name}.npz")
    gain = float(expected["gain"])
    state = filled(keys_of(expected), lambda key, shape: fill_signal(key, shape, gain))
    model = load(family, state, tmp_path, targets="target" in expected)
    x = signals(float(expected["fs"]), int(expected["samples"]))
    x = ((x.double() - float(expected["input_offset"])) * float(expected["input_scale"])).float()
    with torch.no_grad():
        output = model.network(x)
    if name == "echoing_ecg":  # the original's output is at unit length
        output = torch.nn.functional.normalize(output, dim=1)
    if "target" in expected:
        direction = torch.zeros(1, output.shape[1])
        direction[0, int(expected["target"])] = 1
    else:
        v = np.random.default_rng(int(expected["direction_seed"])).standard_normal(output.shape[1]).astype("f4")
        direction = torch.nn.functional.normalize(torch.from_numpy(v)[None], dim=1)
    captured = capture(model, x, direction)
    activations, gradients = captured.activations, captured.gradients[0]
    held = family.held_to
    tolerance = held["network"]
    assert relative(output, expected["output"]) < tolerance
    assert list(activations.shape) == expected["activation_shape"].tolist()
    known = expected["activation_sample"]
    assert relative(activations.mean(1), expected["activation_mean"], known) < held["activations"]
    sampled = activations.flatten()[:: int(expected["activation_step"])]
    assert relative(sampled, known) < held["activations"]
    # `amax` shares a gradient between ties, the original of xresnet1d101 gives it to one of them; no CAM moves.
    if name != "xresnet1d101":
        step, ties = int(expected["gradient_step"]), torch.zeros(())
        largest = float(np.abs(expected["gradient_sample"]).max())
        if name == "echoing_ecg":
            ties = exchanged_by_ties(model, activations, direction)[::step]
            assert float(ties.median()) < 1e-3 * largest
        apart = (gradients.flatten()[::step] - torch.from_numpy(expected["gradient_sample"])).abs()
        assert float((apart - ties).max()) < held["gradient"] * largest
    assert relative(grad_cam(activations, gradients).relu(), expected["grad_cam"]) < held["cells"]
    with torch.no_grad():
        swapped = model.network(x[:, [0, 1, 2, 3, 5, 4, *range(6, 12)]])
    assert relative(swapped, model.network(x).detach().numpy()) > 100 * tolerance


def exchanged_by_ties(model: EcgTextModel, activations: Tensor, direction: Tensor) -> Tensor:
    """By how much ties can change EchoingECG's gradient at its target layer, (B x C x K,), C channels and K cells.

    Each feature of a cell is weighed by its rank among the cells. Where values are equal to rounding, a cell may get the
    weight of another of the same value.
    """
    side = model.network.get_submodule("ecg_encoder")
    pool: Any = side.get_submodule("gpool")
    linear = side.get_submodule("linear")
    with torch.no_grad():
        features, weights = linear(activations.transpose(1, 2)), pool.weights(activations.shape[2], activations)
    pooled = (features.sort(dim=1, descending=True).values * weights[:, None]).sum(dim=1).requires_grad_()
    (slope,) = torch.autograd.grad((model.to_joint_space(pooled) @ direction.T).sum(), pooled)  # (B, F)
    values, order = features.sort(dim=1, descending=True)
    near = float(features.abs().max()) * 2e-6
    least, most = torch.empty_like(values), torch.empty_like(values)
    for rank in range(values.shape[1]):
        tied = (values - values[:, rank : rank + 1]).abs() <= near  # (B, K, F)
        at = weights[:, None].expand_as(tied)
        least[:, rank] = at.masked_fill(~tied, float("inf")).amin(1)
        most[:, rank] = at.masked_fill(~tied, -float("inf")).amax(1)
    spread = torch.zeros_like(values).scatter(1, order, most - least)  # (B, K, F)
    changes = (spread * slope.abs()[:, None]) @ linear.weight.detach().abs()
    return changes.transpose(1, 2).flatten()


@pytest.mark.parametrize("name", [each for each in TEXT if each != "ked"])
@pytest.mark.slow
def test_a_text_family_computes_what_its_authors_code_does(name: str, shared: Path, tmp_path: Path) -> None:
    family, expected = TEXT[name], read(shared / f"reference/families_text/{name}.npz")
    model = load(family, filled(keys_of(expected), fill_two), tmp_path)
    x, text = signals(500, 5000), torch.from_numpy(expected["text_embedding"])[None]
    captured = capture(model, x, text)
    held = family.held_to
    tolerance = held["network"]
    assert relative(captured.embeddings, expected["ecg_embedding"]) < tolerance
    assert relative(captured.scores[:, 0], expected["score"], score_scale(expected["score"], model)) < tolerance
    known = expected["activation_some"]
    assert relative(captured.activations.mean(1), expected["activation_mean"], known) < held["activations"]
    step = captured.activations.shape[1] // 16
    assert relative(captured.activations[:, ::step], known) < held["activations"]
    cells = grad_cam(captured.activations, captured.gradients[0])
    assert relative(cells, expected["cells"]) < held["cells"]
    assert relative(cells.relu(), expected["grad_cam"], expected["cells"]) < held["cells"]
    # In float64: a ReLU's input within float32's rounding of 0 has slope 0 or 1, as the processor rounds.
    precise = name == "esi"
    if precise:
        model.network.double()
    _, _, slopes = input_gradient(model, x.double() if precise else x, text.double() if precise else text)
    model.network.float()
    # MELP's code multiplies the gradient of its convolutions by 0.1 in training.
    factor = 0.1 if name == "melp" else 1.0
    assert relative(factor * slopes[0][..., ::25], expected["input_gradient"]) < held["gradient"]
    projected = model.network.project_text(torch.from_numpy(expected["text_feature"])).detach()  # type: ignore[operator]
    wanted = expected["text_embeddings" if name == "esi" else "text_joint"]
    assert relative(model.to_joint_space(projected), wanted / unit(wanted, model)) < tolerance

    # The whole of the input: lead order, scaling, mask.
    record = read_record(shared / "data/wfdb/ptbxl" / str(expected["masked_record"]))
    prepared = prepare(next(windows_of(record, model.input)), model.input, Settings())
    batch = torch.from_numpy(np.concatenate([prepared.masked(), prepared.fill[None], prepared.x[None]]))
    masked = capture(model, batch, text)
    # Without ECG (the second to last row), the original of ESI normalises channels that are constant but for rounding, so its own
    # figure is rounding; there float64 is the measure.
    comparable = np.arange(len(batch)) != len(batch) - 2 if name == "esi" else np.full(len(batch), True)
    cells = grad_cam(masked.activations, masked.gradients[0])
    scale = score_scale(expected["masked_score"], model)
    assert relative(masked.scores[comparable, 0], expected["masked_score"][comparable], scale) < tolerance
    assert relative(cells[comparable], expected["masked_cells"][comparable]) < held["cells"]
    if name == "esi":
        model.network.double()
        exact = capture(model, batch[-2:-1].double(), text.double())
        assert relative(masked.scores[-2], exact.scores[0].numpy(), scale) < tolerance
    assert relative(masked.embeddings[-1], expected["masked_embedding_whole"]) < tolerance


def score_scale(scores: np.ndarray, model: EcgTextModel) -> np.ndarray:
    """What a score's rounding is measured against: a cosine's is that of vectors of unit length, however small it is."""
    return np.full(1, 1 / OTHER_PROCESSOR) if model.spec.similarity == "cosine" else scores


def unit(rows: np.ndarray, model: EcgTextModel) -> np.ndarray | float:
    """The lengths of rows where the model's score is a cosine."""
    return np.linalg.norm(rows, axis=1, keepdims=True) if model.spec.similarity == "cosine" else 1.0


@pytest.mark.parametrize("head", ["", pytest.param("_one_layer_head", marks=pytest.mark.slow)])
def test_ked_computes_what_its_authors_code_does(head: str, shared: Path, tmp_path: Path) -> None:
    expected = read(shared / "reference/families_text/ked.npz")
    keys = keys_of(expected) + [(f"text_encoder.mlp_embed.{i}.{part}", [768, 768] if part == "weight" else [768])
                                for i in (0, 2, 4) for part in ("weight", "bias")]  # fmt: skip
    if head:
        keys = [(key, shape) for key, shape in keys if "mlp_head" not in key]
        keys += [("model.mlp_head.0.weight", [2, 768]), ("model.mlp_head.0.bias", [2])]
    model = load(TEXT["ked"], filled(keys, fill_two), tmp_path)
    network, x = model.network, signals(100, 1000)
    assert isinstance(network, KedNetwork)
    network._asked.append(torch.from_numpy(expected["query"][0]))
    with torch.no_grad():
        text = torch.zeros(1, network(x).shape[1])
    text[0, 0] = 1.0
    captured = capture(model, x, text)
    held = TEXT["ked"].held_to
    assert captured.embeddings.shape[1] == SLOTS + 2 * 768
    assert relative(captured.scores[:, 0], expected[f"score{head}"]) < held["network"]
    known = expected["activation_some"]
    assert relative(captured.activations.mean(1), expected["activation_mean"], known) < held["activations"]
    assert relative(captured.activations[:, ::48], known) < held["activations"]
    cells = grad_cam(captured.activations, captured.gradients[0])
    assert relative(cells, expected[f"cells{head}"]) < held["cells"]
    if not head:
        assert relative(cells.relu(), expected["grad_cam"], expected["cells"]) < held["cells"]
        # One ReLU's input is within float32's rounding of 0: its slope is 0 or 1, as the processor rounds. In float64 it is not.
        network.double()
        network._asked[-1] = network._asked[-1].double()
        _, _, slopes = input_gradient(model, x.double(), text.double())
        assert relative(slopes[0][..., ::5], expected["input_gradient"]) < held["gradient"]


# Text sides ----------------------------------------------------------------------------------------------------------------


def tokenizer(folder: Path, size: int, t5: bool) -> None:
    """A tokenizer whose word w11 is token 11, with the special tokens of the reference towers."""
    special = {0: "[PAD]", 1: "</s>", 2: "[CLS]", 3: "[SEP]"} if not t5 else {0: "[PAD]", 1: "</s>"}
    vocabulary = {special.get(i, f"w{i}"): i for i in range(size)}
    if not t5:
        vocabulary = {"[BOS]" if i == 109 else word: i for word, i in vocabulary.items()}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[PAD]"))  # noqa: S106
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    single = "$A </s>" if t5 else "[CLS] $A [SEP]"
    inner.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(word, vocabulary[word]) for word in single.replace("$A", "").split()]
    )
    extra = [] if t5 else ["[BOS]"]
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",  # noqa: S106
        additional_special_tokens=extra,
    ).save_pretrained(folder)


@pytest.fixture(params=["esi", "ecg_coca", "melp", "d_beta"])
def side(request: pytest.FixtureRequest, shared: Path, tmp_path: Path) -> tuple[str, dict, dict, Path]:
    """A family's name, its reference, the projections and tower of its checkpoint, and the tower's configuration in a folder."""
    name = str(request.param)
    expected = read(shared / f"reference/families_text/{name}.npz")
    folder = tmp_path / "tower"
    folder.mkdir()
    config = json.loads(str(expected["tower_config"]))
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer(folder, config["vocab_size"], name == "d_beta")
    tower = filled(keys_of(expected, "tower_keys"), fill_two)
    if name == "ecg_coca":
        assert not any("pooler" in key for key in tower)
    return name, expected, tower, folder


def prompts(expected: dict[str, np.ndarray]) -> list[str]:
    """The words of the reference's token ids, special ones left out."""
    ids = json.loads(str(expected["tower_ids"])) if expected["tower_ids"].dtype.kind == "U" else expected["tower_ids"]
    return [" ".join(f"w{i}" for i in row if (i > 3 and i != 109) or (len(row) < 5 and i > 1)) for row in ids]


def text_side(name: str, expected: dict, tower: dict[str, Tensor], folder: Path) -> Tensor:
    """Joint embeddings of the reference's prompts, through the model file's text side alone."""
    from ecgcam.models.load import AdaptsState, build_network
    from ecgcam.models.model_file import load_spec
    from ecgcam.models.text.published import published_text

    spec = load_spec(TEXT[name].model)
    network = build_network(spec)
    assert isinstance(network, AdaptsState)
    keys = [(key, shape) for key, shape in keys_of(expected) if any(part in key for part in PROJECTIONS[name])]
    network.load_state_dict(network.adapt_state(filled(keys, fill_two), folder), strict=False, assign=True)
    encoder = published_text(spec.text_model, spec.tower, network.project_text, tower, "", folder, offline=True)  # type: ignore[operator]
    with torch.no_grad():
        rows = encoder.encode(prompts(expected))
    return torch.nn.functional.normalize(rows, dim=1) if spec.similarity == "cosine" else rows


PROJECTIONS = {
    "esi": ("text_to_latents",),
    "ecg_coca": ("text.proj",),
    "melp": ("proj_t",),
    "d_beta": ("multi_modal_language_proj", "unimodal_language_pooler"),
}


def test_a_text_side_gives_what_its_authors_code_does(side: tuple[str, dict, dict, Path]) -> None:
    name, expected, tower, folder = side
    got = text_side(name, expected, tower, folder)
    assert relative(got, expected["text_embeddings_of_tiny_tower"]) < TEXT[name].held_to["text"]


@pytest.mark.parametrize("mutation", ["pooling", "prefix"])
def test_a_text_side_that_is_asked_otherwise_is_noticed(
    mutation: str, side: tuple[str, dict, dict, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with another pooling, or with the tower's first prompt token changed by the template."""
    from dataclasses import replace

    from ecgcam.models import model_file

    name, expected, tower, folder = side
    own = model_file.load_spec(TEXT[name].model)
    other = {"class": "mean", "mean": "class", "last": "class"}[own.tower.pooling]
    changed = {"pooling": {"pooling": other}, "prefix": {"template": "w7 {}"}}[mutation]
    monkeypatch.setattr(model_file, "load_spec", lambda _: replace(own, tower=replace(own.tower, **changed)))
    got = text_side(name, expected, tower, folder)
    assert relative(got, expected["text_embeddings_of_tiny_tower"]) > 100 * TEXT[name].held_to["text"]


def test_esi_s_tower_is_found_under_either_name(shared: Path, tmp_path: Path) -> None:
    """accelerate's save_model keeps one name of a shared tensor: here the second alone."""
    expected = read(shared / "reference/families_text/esi.npz")
    config = json.loads(str(expected["tower_config"]))
    folder = tmp_path / "tower"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer(folder, config["vocab_size"], t5=False)
    tower = filled(keys_of(expected, "tower_keys"), fill_two)
    renamed = {key.replace("unimodal_layers.", "pretrained_text_encoder."): value for key, value in tower.items()}
    got = text_side("esi", expected, renamed, folder)
    assert relative(got, expected["text_embeddings_of_tiny_tower"]) < TEXT["esi"].held_to["text"]
