"""Published text towers, by transformers' own classes at toy size: what they say is what ecgcam takes from them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tests.models.published import narrow_file, standin_state

from ecgcam.cli.app import run
from ecgcam.errors import EcgcamError
from ecgcam.models.check import inspect_checkpoint
from ecgcam.models.checkpoint import read_state
from ecgcam.models.load import build_network, load_model
from ecgcam.models.model_file import load_spec
from ecgcam.models.text import cache as caching
from ecgcam.models.text.published import TOWERS, published_text
from ecgcam.models.text.tower import PublishedTower, pool
from ecgcam.models.text.trial import try_text_side
from ecgcam.protocol.spec import TowerSpec
from ecgcam.records.simulator import simulate, write

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[BOS]",
    "atrial",
    "fibrillation",
    "sinus",
    "rhythm",
    "##s",
    "normal",
    "ecg",
]
TEXTS = ["Atrial fibrillation", "sinus rhythms", "normal ECG"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 768 numbers, one layer, saved as published towers are."""
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=768, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=256,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    transformers.BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=False).save_pretrained(folder)
    return folder


def tower(source: str, spec: TowerSpec, weights: dict | None = None, offline: bool = False) -> PublishedTower:
    return TOWERS[spec.kind](source, spec, weights, offline)


def said(tower: PublishedTower, texts: list[str]) -> torch.Tensor:
    return torch.stack(list(tower.features(texts)))


def direct(folder: Path, texts: list[str], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """transformers alone: pooler output and last hidden state."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    network = transformers.AutoModel.from_pretrained(folder).eval()
    tokens = tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    with torch.no_grad():
        answer = network(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    return answer.pooler_output, answer.last_hidden_state


def test_pooler_and_class_token(bert: Path) -> None:
    pooled, hidden = direct(bert, [text.lower() for text in TEXTS], 32)
    ours = said(tower(str(bert), TowerSpec(lower=True, length=32)), TEXTS)
    assert torch.allclose(ours, pooled, atol=1e-5)
    ours = said(tower(str(bert), TowerSpec(lower=True, length=32, pooling="class")), TEXTS)
    assert torch.allclose(ours, hidden[:, 0], atol=1e-5)


def test_tokens_are_those_of_the_prompt_alone(bert: Path) -> None:
    """Each prompt without padding, as the model that pools them was trained."""
    tokenizer, network = transformers.AutoTokenizer.from_pretrained(bert), transformers.AutoModel.from_pretrained(bert)
    rows = tower(str(bert), TowerSpec(length=32, pooling="tokens")).features(TEXTS)
    for text, row in zip(TEXTS, rows, strict=True):
        with torch.no_grad():
            alone = network.eval()(**tokenizer([text], return_tensors="pt")).last_hidden_state[0]
        assert torch.allclose(row, alone, atol=1e-5)
    assert len({len(row) for row in rows}) > 1


def test_echoing_ecg_pools_the_tokens_of_each_prompt(bert: Path, tmp_path: Path) -> None:
    file = narrow_file("echoing-ecg", tmp_path)
    spec = load_spec(file)
    folder = tiny_tower(tmp_path / "tower", bert, 24, "bert")
    checkpoint = save("echoing-ecg", standin_state(build_network(spec)), tmp_path / "c.pt")
    model = load_model(file, checkpoint, folder, "cpu", offline=True)
    rows = tower(str(folder), spec.tower).features(TEXTS)
    with torch.no_grad():
        pooled = torch.cat([model.network.text_encoder_head(row[None]) for row in rows])  # type: ignore[operator]
    expected = pooled / pooled.norm(dim=1, keepdim=True)
    assert torch.allclose(model.encode_text(TEXTS), expected, atol=1e-5)
    assert (expected[0] - expected[1]).abs().max() > 100 * 1e-5


def test_case_template_order_and_cache(bert: Path) -> None:
    plain = tower(str(bert), TowerSpec(length=32))
    assert not torch.allclose(said(plain, ["Atrial"]), said(plain, ["atrial"]), atol=1e-3)
    dressed = tower(str(bert), TowerSpec(length=32, template="normal {} rhythm"))
    assert torch.allclose(said(dressed, ["sinus"]), said(plain, ["normal sinus rhythm"]), atol=1e-6)
    # Case is the prompt's; the template stands as it is written.
    shouted = tower(str(bert), TowerSpec(length=32, template="ECG {}", lower=True))
    assert torch.allclose(said(shouted, ["SINUS"]), said(plain, ["ECG sinus"]), atol=1e-6)
    assert not torch.allclose(said(plain, ["ECG sinus"]), said(plain, ["ecg sinus"]), atol=1e-3)
    together = said(plain, TEXTS)
    assert torch.allclose(said(plain, TEXTS[::-1]).flip(0), together, atol=1e-6)


def test_a_decoder_reads_from_left_to_right_and_answers_at_the_end(bert: Path) -> None:
    causal = tower(str(bert), TowerSpec(kind="bert-decoder", pooling="last", length=8, template="[BOS]{}"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    config = transformers.AutoConfig.from_pretrained(bert)
    config.is_decoder = True
    network = transformers.AutoModel.from_pretrained(bert, config=config).eval()
    tokens = tokenizer(["[BOS]sinus rhythm"], padding="max_length", max_length=8, return_tensors="pt")
    ids, mask = (torch.cat([v[:, 1:], v[:, :1]], dim=1) for v in (tokens["input_ids"], tokens["attention_mask"]))
    assert ids[0, -1] == WORDS.index("[CLS]")
    with torch.no_grad():
        expected = network(input_ids=ids, attention_mask=mask).last_hidden_state[:, -1]
    assert torch.allclose(said(causal, ["sinus rhythm"]), expected, atol=1e-5)


def test_the_encoder_of_t5(bert: Path, tmp_path: Path) -> None:
    config = transformers.T5Config(vocab_size=len(WORDS), d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    torch.manual_seed(0)
    transformers.T5EncoderModel(config).save_pretrained(tmp_path)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=transformers.AutoTokenizer.from_pretrained(bert).backend_tokenizer, pad_token="[PAD]", unk_token="[UNK]"  # noqa: S106
    ).save_pretrained(tmp_path)  # fmt: skip
    encoder = tower(str(tmp_path), TowerSpec(kind="t5", pooling="class", length=8))
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path)(
        ["sinus"], padding="max_length", max_length=8, return_tensors="pt"
    )
    with torch.no_grad():
        network = transformers.T5EncoderModel.from_pretrained(tmp_path).eval()
        expected = network(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state[
            :, 0
        ]
    assert torch.allclose(said(encoder, ["sinus"]), expected, atol=1e-5)


def test_a_merl_checkpoint_with_its_tower_inside(bert: Path, standin: Callable[[str], Path], tmp_path: Path) -> None:
    state = read_state(standin("merl-vit-tiny"))
    inside = {
        f"lm_model.{key}": value for key, value in transformers.AutoModel.from_pretrained(bert).state_dict().items()
    }
    path, empty = tmp_path / "whole.pth", tmp_path / "tower"
    torch.save(state | inside, path)
    # The folder holds configuration and tokenizer alone, as where the weights are the checkpoint's.
    empty.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (empty / name).write_bytes((bert / name).read_bytes())
    model = load_model("merl-vit-tiny", path, empty, "cpu", offline=True)
    pooled, _ = direct(bert, [text.lower() for text in TEXTS], 256)
    with torch.no_grad():
        projected = model.network.project_text(pooled)
    expected = projected / projected.norm(dim=1, keepdim=True)
    assert torch.allclose(model.encode_text(TEXTS), expected, atol=1e-5)
    assert not torch.allclose(expected[0], expected[1], atol=1e-3)


def test_no_bars_where_nobody_sees_them(bert: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tower(str(bert), TowerSpec())
    assert capfd.readouterr().err == ""
    assert transformers.utils.logging.is_progress_bar_enabled()  # as it was


def test_what_does_not_fit_is_said(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(EcgcamError, match="`offline` forbids a download"):
        tower("nobody/nothing", TowerSpec(), offline=True)
    with pytest.raises(EcgcamError, match="do not fit its configuration"):
        tower(str(bert), TowerSpec(), {"embeddings.word_embeddings.weight": torch.zeros(2, 2)})
    with pytest.raises(EcgcamError, match="no such folder"):
        load_model("merl-vit-tiny", _some_weights(tmp_path), tmp_path / "none", "cpu").encode_text(["x"])


def _some_weights(folder: Path) -> Path:
    from tests.models.conftest import keys_of, standin_array

    path = folder / "w.pth"
    torch.save({k: torch.from_numpy(np.asarray(standin_array(k, s))) for k, s in keys_of("merl-vit-tiny")}, path)
    return path


def test_a_tower_whose_files_are_here_is_not_asked_for_on_the_network(
    bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    own = transformers.AutoConfig.from_pretrained

    def from_pretrained(source: str, **options: object) -> object:
        if source.endswith("/tower"):  # transformers asks for itself too
            asked.append(options["local_files_only"])
        if source == "some/tower" and options["local_files_only"]:
            raise OSError("not in the hub's cache")
        return own(str(bert), **options)

    for each in ("AutoTokenizer", "AutoModel"):
        read = getattr(transformers, each).from_pretrained
        monkeypatch.setattr(
            f"transformers.{each}.from_pretrained", lambda _, read=read, **more: read(str(bert), **more)
        )
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", from_pretrained)
    monkeypatch.setattr("ecgcam.models.text.tower.hub_problem", lambda: None)  # as where the hub can be reached
    tower("another/tower", TowerSpec())
    assert asked == [True]
    asked.clear()
    tower("some/tower", TowerSpec())
    assert asked == [True, False]
    asked.clear()
    with pytest.raises(EcgcamError, match="`offline` forbids"):
        tower("some/tower", TowerSpec(), offline=True)
    assert asked == [True]


@pytest.mark.parametrize("damage", ["weights", "tokenizer", "config", "size"])
def test_a_damaged_tower_is_one_line(damage: str, bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tower"
    shutil.copytree(bert, folder)
    if damage == "weights":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    elif damage == "tokenizer":
        (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    elif damage == "config":
        (folder / "config.json").write_text('{"model_type": "no such thing"}', encoding="utf-8")
    else:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 5}), encoding="utf-8")
    with pytest.raises(EcgcamError, match=r"tower: the text tower cannot be had \(.+\); give its folder") as said:
        tower(str(folder), TowerSpec(), offline=True)
    assert "\n" not in str(said.value)


# What models with a tower inside give ------------------------------------------------------------------------------------


def tiny_tower(folder: Path, bert: Path, width: int, kind: str) -> Path:
    """A tower of a model's own text width: configuration, tokenizer and weights, as published."""
    folder.mkdir()
    torch.manual_seed(1)
    if kind == "t5":
        config = transformers.T5Config(vocab_size=len(WORDS), d_model=width, d_kv=4, d_ff=16, num_layers=1, num_heads=2,
                                       initializer_factor=2.0)  # fmt: skip
        transformers.T5EncoderModel(config).save_pretrained(folder)
    else:
        sizes = {"hidden_size": width, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        sizes["initializer_range"] = 0.3
        config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=256, **sizes)
        transformers.BertModel(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(bert).save_pretrained(folder)
    return folder


def save(name: str, state: dict[str, torch.Tensor], path: Path) -> Path:
    """Save a state dict as one, or KED's in its three parts."""
    if name == "ked":
        parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "ecg_model": {}, "text_encoder": {}}
        for key, value in state.items():
            part, _, rest = key.replace("text_encoder_head.", "text_encoder.").partition(".")
            parts[part][rest] = value
        torch.save(parts, path)
    else:
        torch.save({"model": state}, path)
    return path


@pytest.mark.parametrize(
    ("name", "width"), [("melp", 768), ("d-beta", 24), ("ecg-coca", 24), ("ked", 24), ("esi", 24), ("echoing-ecg", 24)]
)
def test_a_tower_inside_a_checkpoint_or_in_a_folder_is_the_same_text(
    name: str, width: int, bert: Path, tmp_path: Path
) -> None:
    """By the weights in the checkpoint, with configuration and tokenizer alone in the folder; and by the folder's weights."""
    file = narrow_file(name, tmp_path)
    spec = load_spec(file)
    folder = tiny_tower(tmp_path / "tower", bert, width, spec.tower.kind)
    kind = transformers.T5EncoderModel if spec.tower.kind == "t5" else transformers.AutoModel
    weights = kind.from_pretrained(folder).state_dict()
    save(name, standin_state(build_network(spec)), tmp_path / "without.pt")
    if spec.tower.pooling != "pooler":  # as published: these towers are built without one
        weights = {key: value for key, value in weights.items() if not key.startswith("pooler.")}
    inner = {spec.tower.weights[0] + key: value for key, value in weights.items()}
    save(name, standin_state(build_network(spec)) | inner, tmp_path / "inside.pt")
    bare = tmp_path / "bare"
    bare.mkdir()
    for each in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (bare / each).write_bytes((folder / each).read_bytes())
    inside = load_model(file, tmp_path / "inside.pt", bare, "cpu", offline=True).encode_text(TEXTS)
    outside = load_model(file, tmp_path / "without.pt", folder, "cpu", offline=True).encode_text(TEXTS)
    assert torch.allclose(inside, outside, atol=1e-5)
    assert (inside[0] - inside[1]).abs().max() > 100 * 1e-5


def test_a_checkpoint_without_its_tower_is_not_asked_with_another(bert: Path, tmp_path: Path) -> None:
    """The tower on the hub is not the one that the model was trained with: only a folder that the user names stands in."""
    file = narrow_file("esi", tmp_path)
    path = save("esi", standin_state(build_network(load_spec(file))), tmp_path / "without.pt")
    said = (
        r"BioLinkBERT-base: this checkpoint holds no text tower \(unimodal_layers\.\* or pretrained_text_encoder\.\*\)"
    )
    for offline in (True, False):
        with pytest.raises(EcgcamError, match=said):
            load_model(file, path, device="cpu", offline=offline).encode_text(TEXTS)
    folder = tiny_tower(tmp_path / "tower", bert, 24, "bert")
    assert load_model(file, path, folder, "cpu").encode_text(TEXTS).shape == (3, 16)


def test_the_command_line_asks_a_published_file_by_text_or_says_what_is_missing(
    bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = narrow_file("ecg-coca", tmp_path)
    folder = tiny_tower(tmp_path / "tower", bert, 24, "bert")
    weights = transformers.AutoModel.from_pretrained(folder).state_dict()
    inner = {f"text.transformer.{key}": value for key, value in weights.items() if "pooler" not in key}
    state = standin_state(build_network(load_spec(file)))
    torch.save({"epoch": 3, "name": "coca", "state_dict": state | inner}, tmp_path / "whole.pt")
    torch.save({"epoch": 3, "name": "coca", "state_dict": state}, tmp_path / "without.pt")
    write(simulate("af", 7), tmp_path)
    call = ["explain", str(tmp_path / "af-7.dat"), "--model", str(file), "--text", "atrial fibrillation", "--no-png"]
    given = ["--text-model", str(folder), "--out", str(tmp_path / "o"), "--offline", "--json"]
    assert run([*call, "--checkpoint", str(tmp_path / "whole.pt"), *given]) == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["score"] != 0
    assert run([*call, "--checkpoint", str(tmp_path / "without.pt"), "--offline", "--out", str(tmp_path / "p")]) == 2
    assert "this checkpoint holds no text tower (text.transformer.*)" in capsys.readouterr().err


def test_a_name_around_network_and_tower_comes_off_both(bert: Path, tmp_path: Path) -> None:
    file = narrow_file("ecg-coca", tmp_path)
    folder = tiny_tower(tmp_path / "tower", bert, 24, "bert")
    weights = transformers.AutoModel.from_pretrained(folder).state_dict()
    inner = {f"text.transformer.{key}": value for key, value in weights.items() if "pooler" not in key}
    whole = standin_state(build_network(load_spec(file))) | inner
    bare, wrapped = tmp_path / "bare.pt", tmp_path / "wrapped.pt"
    torch.save(whole, bare)
    torch.save({"state_dict": {f"clip.{key}": value.half() for key, value in whole.items()}}, wrapped)
    one, other = (load_model(file, path, folder, "cpu", offline=True).encode_text(TEXTS) for path in (bare, wrapped))
    assert torch.allclose(one, other, atol=5e-3)
    found = inspect_checkpoint(wrapped, str(file))
    assert "holds no text tower" not in found.facts["prompts"]


@pytest.mark.parametrize("kept", ["unimodal_layers.", "pretrained_text_encoder."])
def test_a_tower_under_either_of_two_names_is_the_same(kept: str, bert: Path, tmp_path: Path) -> None:
    file = narrow_file("esi", tmp_path)
    state = standin_state(build_network(load_spec(file)))
    folder = tiny_tower(tmp_path / "tower", bert, 24, "bert")
    weights = transformers.AutoModel.from_pretrained(folder).state_dict()
    both = {f"{name}{key}": weights[key] for name in load_spec(file).tower.weights for key in weights}
    one = {key: value for key, value in both.items() if key.startswith(kept)}
    whole, alone = (
        load_model(file, save("esi", state | inner, tmp_path / f"{len(inner)}.pt"), folder, "cpu").encode_text(TEXTS)
        for inner in (both, one)
    )
    assert torch.equal(whole, alone)


def test_a_tied_tensor_needs_one_of_its_names(bert: Path, tmp_path: Path) -> None:
    """safetensors' save_model keeps one name of T5's shared embedding; the other is filled from it."""
    folder = tiny_tower(tmp_path / "tower", bert, 24, "t5")
    weights = transformers.T5EncoderModel.from_pretrained(folder).state_dict()
    assert torch.equal(weights["shared.weight"], weights["encoder.embed_tokens.weight"])
    spec = TowerSpec(kind="t5", pooling="class", length=8)
    whole = said(tower(str(folder), spec, dict(weights)), TEXTS)
    for dropped in ("shared.weight", "encoder.embed_tokens.weight"):
        less = {key: value for key, value in weights.items() if key != dropped}
        assert torch.equal(said(tower(str(folder), spec, less), TEXTS), whole)
    with pytest.raises(EcgcamError, match=r"do not fit its configuration \(shared\.weight"):
        tower(str(folder), spec, {key: value for key, value in less.items() if key != "shared.weight"})


def test_making_a_tower_leaves_the_random_state_alone(bert: Path) -> None:
    weights = transformers.AutoModel.from_pretrained(bert).state_dict()
    before = torch.random.get_rng_state()
    tower(str(bert), TowerSpec(), dict(weights))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_poolings_by_hand() -> None:
    hidden = torch.arange(12.0).reshape(4, 3)
    real = torch.tensor([True, True, True, False])
    wanted = {"class": [0, 1, 2], "mean": [3, 4, 5], "eos": [6, 7, 8], "last": [9, 10, 11]}
    for pooling, row in wanted.items():
        assert pool(hidden, real, pooling).tolist() == row
    assert torch.equal(pool(hidden, real, "tokens"), hidden[:3])


def test_a_prompt_s_features_do_not_depend_on_the_others(bert: Path) -> None:
    """Nor on the length that prompts are cut at: they are not padded to it."""
    one = tower(str(bert), TowerSpec(length=16, pooling="mean"))
    other = tower(str(bert), TowerSpec(length=200, pooling="mean"))
    together = said(one, TEXTS)
    assert torch.equal(together, torch.cat([said(one, [text]) for text in TEXTS]))
    assert torch.equal(together, said(other, TEXTS))


def test_the_text_side_is_tried_once(bert: Path, tmp_path: Path) -> None:
    file = narrow_file("ecg-coca", tmp_path)
    spec = load_spec(file)
    folder = tiny_tower(tmp_path / "tower", bert, 24, "bert")
    weights = transformers.AutoModel.from_pretrained(folder).state_dict()
    inner = {f"text.transformer.{key}": value for key, value in weights.items() if "pooler" not in key}
    network = build_network(spec)
    state = standin_state(network)
    network.load_state_dict(state, assign=True)
    assert try_text_side(spec, network.project_text, state).startswith(
        "ncbi/MedCPT-Query-Encoder: this checkpoint holds no"
    )  # type: ignore[arg-type]
    answers = try_text_side(spec, network.project_text, state | inner, folder)  # type: ignore[arg-type]
    assert "its weights are in this file, configuration and tokenizer come from" in answers
    assert answers.endswith("Tried: 'atrial fibrillation' gives 16 finite numbers")
    less = {key: value for key, value in inner.items() if "word_embeddings" not in key}
    refused = try_text_side(spec, network.project_text, state | less, folder)  # type: ignore[arg-type]
    assert "do not fit its configuration (embeddings.word_embeddings.weight)" in refused
    nowhere = try_text_side(spec, network.project_text, state | inner)  # type: ignore[arg-type]
    assert "is not on this machine, and `offline` forbids a download" in nowhere


def test_embed_writes_what_ked_asks_in_another_process(
    bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot means nothing elsewhere: the table holds the tower's features, a row for each phrasing."""
    file = narrow_file("ked", tmp_path)
    checkpoint = save("ked", standin_state(build_network(load_spec(file))), tmp_path / "ked.pt")
    folder, table = tiny_tower(tmp_path / "tower", bert, 24, "bert"), tmp_path / "t.npz"
    (tmp_path / "p.txt").write_text("normal ECG\nsinus rhythm | atrial fibrillation\n", encoding="utf-8")
    call = ["--model", str(file), "--checkpoint", str(checkpoint)]
    embed = ["embed", *call, "--text-model", str(folder), "--text-file", str(tmp_path / "p.txt"), "--out", str(table)]
    assert run(embed) == 0, capsys.readouterr().err
    with np.load(table) as held:
        assert held["texts"].tolist() == ["normal ECG", "sinus rhythm", "atrial fibrillation"]
        assert held["features"].shape == (3, 24)
    write(simulate("af", 7), tmp_path)
    scores = []
    for given in (["--text-model", str(folder)], ["--embeddings", str(table)]):
        asked = ["score", str(tmp_path / "af-7.dat"), *call, *given, "--text-file", str(tmp_path / "p.txt"), "--json"]
        assert run(asked) == 0, capsys.readouterr().err
        scores.append(json.loads(capsys.readouterr().out.splitlines()[-1])["scores"])
        monkeypatch.setitem(
            sys.modules, "transformers", None
        )  # a cluster's node has none, and needs none for the table
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    assert len(set(scores[0].values())) == 2


# Prompts kept between calls ----------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ECGCAM_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept/text"


class Counted:
    """A tower made anew for each call, as in another process, and what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        own = PublishedTower.features

        def features(tower: PublishedTower, texts: list[str]) -> list[torch.Tensor]:
            self.asked += texts
            return own(tower, texts)

        monkeypatch.setattr(PublishedTower, "features", features)

    def ask(self, folder: Path, texts: list[str], spec: TowerSpec | None = None, **more: object) -> torch.Tensor:
        self.asked.clear()
        given = {"state": {}, "checkpoint_sha256": "", "folder": folder, "offline": True} | more
        return published_text("x", spec or TowerSpec(length=16), lambda rows: rows, **given).encode(texts)  # type: ignore[arg-type]


def test_a_prompt_is_embedded_once_by_content(
    bert: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counted = Counted(monkeypatch)
    first = counted.ask(bert, TEXTS[:2])
    assert counted.asked == TEXTS[:2]
    again = counted.ask(bert, TEXTS)
    assert counted.asked == TEXTS[2:]  # the others are known
    assert torch.equal(again[:2], first)
    # The same files elsewhere are the same tower; another weight, another tokenizer, another way to ask are not.
    copied = tmp_path / "copied"
    shutil.copytree(bert, copied)
    assert torch.equal(counted.ask(copied, TEXTS), again)
    assert counted.asked == []
    for changed in (TowerSpec(length=16, lower=True), TowerSpec(length=16, pooling="class"), TowerSpec(length=15)):
        counted.ask(bert, TEXTS, changed)
        assert counted.asked == TEXTS
    words = (copied / "tokenizer_config.json").read_text(encoding="utf-8")
    (copied / "tokenizer_config.json").write_text(words + "\n", encoding="utf-8")
    counted.ask(copied, TEXTS)
    assert counted.asked == TEXTS
    # Nothing but numbers lies there: no prompt can be read off a name or a file.
    files = [path for path in kept.rglob("*") if path.is_file()]
    assert len(files) == 3 * 5
    assert {path.suffix for path in files} == {".npy"}
    assert not any(b"fibrillation" in path.read_bytes().lower() for path in files)


def test_weights_inside_are_known_by_the_checkpoint(bert: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, spec = Counted(monkeypatch), TowerSpec(length=16, weights=("lm.",))
    weights = {f"lm.{key}": value for key, value in transformers.AutoModel.from_pretrained(bert).state_dict().items()}
    first = counted.ask(bert, TEXTS, spec, state=dict(weights), checkpoint_sha256="one")
    assert counted.asked == TEXTS
    counted.ask(bert, TEXTS, spec, state=dict(weights), checkpoint_sha256="one")
    assert counted.asked == []
    moved = {key: 1.1 * value for key, value in weights.items()}
    other = counted.ask(bert, TEXTS, spec, state=moved, checkpoint_sha256="another")
    assert counted.asked == TEXTS
    assert (first - other).abs().max() > 1e-3
    # The tower's own weights, in the same folder, are another content again.
    counted.ask(bert, TEXTS, spec)
    assert counted.asked == TEXTS


def test_what_is_kept_needs_no_transformers_to_be_read(bert: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    counted.ask(bert, TEXTS)
    monkeypatch.setitem(sys.modules, "transformers", None)
    counted.ask(bert, TEXTS)
    assert counted.asked == []
    with pytest.raises(EcgcamError, match="not installed"):
        counted.ask(bert, ["paced rhythm"])


def test_damaged_files_are_made_again_and_a_folder_that_cannot_be_written_does_not_matter(
    bert: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counted = Counted(monkeypatch)
    first = counted.ask(bert, TEXTS)
    files = sorted(kept.rglob("*.npy"))
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[:-8])
    np.save(files[2], np.full(768, np.nan, np.float32))
    assert torch.allclose(counted.ask(bert, TEXTS), first, atol=1e-6)
    assert sorted(counted.asked) == sorted(TEXTS)
    counted.ask(bert, TEXTS)
    assert counted.asked == []
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    for nowhere in (str(tmp_path / "file"), "off"):
        monkeypatch.setenv("ECGCAM_CACHE", nowhere)
        for _ in range(2):
            assert torch.allclose(counted.ask(bert, TEXTS), first, atol=1e-6)
            assert counted.asked == TEXTS


def test_the_folder_is_the_platform_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECGCAM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    for platform, folder in (
        ("linux", "xdg/ecgcam"),
        ("darwin", "Library/Caches/ecgcam"),
        ("win32", "local/ecgcam/Cache"),
    ):
        monkeypatch.setattr(sys, "platform", platform)
        assert caching.cache_folder() == tmp_path / folder
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the rule: no absolute path, no use
    assert caching.cache_folder() == tmp_path / ".cache/ecgcam"


def test_a_tower_on_the_hub_is_known_by_the_files_that_its_cache_holds(
    bert: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    snapshot = tmp_path / "hub/models--some--tower/snapshots/abc"
    shutil.copytree(bert, snapshot)
    (tmp_path / "hub/models--some--tower/refs").mkdir()
    (tmp_path / "hub/models--some--tower/refs/main").write_text("abc", encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    counted = Counted(monkeypatch)
    first = counted.ask(bert, TEXTS)  # a folder with the same content has made them
    got = published_text("some/tower", TowerSpec(length=16), lambda rows: rows, {}, "", None, True).encode(TEXTS)
    assert torch.equal(got, first)
    assert caching.cache_of("some/other", None, TowerSpec(), None) is None
