"""Published text towers, by transformers' own classes at toy size: what they say is what ecgcam takes from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from ecgcam.errors import EcgcamError
from ecgcam.models.checkpoint import read_state
from ecgcam.models.load import load_model
from ecgcam.models.spec import TowerSpec
from ecgcam.models.text.published import PublishedTower

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
    ours = PublishedTower(str(bert), TowerSpec(lower=True, length=32)).features(TEXTS)
    assert torch.allclose(ours, pooled, atol=1e-5)
    ours = PublishedTower(str(bert), TowerSpec(lower=True, length=32, pooling="class")).features(TEXTS)
    assert torch.allclose(ours, hidden[:, 0], atol=1e-5)


def test_case_template_order_and_cache(bert: Path) -> None:
    plain = PublishedTower(str(bert), TowerSpec(length=32))
    assert not torch.allclose(plain.features(["Atrial"]), plain.features(["atrial"]), atol=1e-3)
    dressed = PublishedTower(str(bert), TowerSpec(length=32, template="normal {} rhythm"))
    assert torch.allclose(dressed.features(["sinus"]), plain.features(["normal sinus rhythm"]), atol=1e-6)
    together = plain.features(TEXTS)
    assert torch.allclose(plain.features(TEXTS[::-1]).flip(0), together, atol=1e-6)


def test_a_decoder_reads_from_left_to_right_and_answers_at_the_end(bert: Path) -> None:
    tower = PublishedTower(str(bert), TowerSpec(kind="bert-decoder", pooling="last", length=8, template="[BOS]{}"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    config = transformers.AutoConfig.from_pretrained(bert)
    config.is_decoder = True
    network = transformers.AutoModel.from_pretrained(bert, config=config).eval()
    tokens = tokenizer(["[BOS]sinus rhythm"], padding="max_length", max_length=8, return_tensors="pt")
    ids, mask = (torch.cat([v[:, 1:], v[:, :1]], dim=1) for v in (tokens["input_ids"], tokens["attention_mask"]))
    assert ids[0, -1] == WORDS.index("[CLS]")
    with torch.no_grad():
        expected = network(input_ids=ids, attention_mask=mask).last_hidden_state[:, -1]
    assert torch.allclose(tower.features(["sinus rhythm"]), expected, atol=1e-5)


def test_the_encoder_of_t5(bert: Path, tmp_path: Path) -> None:
    config = transformers.T5Config(vocab_size=len(WORDS), d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    torch.manual_seed(0)
    transformers.T5EncoderModel(config).save_pretrained(tmp_path)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=transformers.AutoTokenizer.from_pretrained(bert).backend_tokenizer, pad_token="[PAD]", unk_token="[UNK]"  # noqa: S106
    ).save_pretrained(tmp_path)  # fmt: skip
    tower = PublishedTower(str(tmp_path), TowerSpec(kind="t5", pooling="class", length=8))
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path)(
        ["sinus"], padding="max_length", max_length=8, return_tensors="pt"
    )
    with torch.no_grad():
        network = transformers.T5EncoderModel.from_pretrained(tmp_path).eval()
        expected = network(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state[
            :, 0
        ]
    assert torch.allclose(tower.features(["sinus"]), expected, atol=1e-5)


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


def test_what_does_not_fit_is_said(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(EcgcamError, match="--offline forbids a download"):
        PublishedTower("nobody/nothing", TowerSpec(), offline=True)
    with pytest.raises(EcgcamError, match="do not fit its configuration"):
        PublishedTower(str(bert), TowerSpec(), {"embeddings.word_embeddings.weight": torch.zeros(2, 2)})
    with pytest.raises(EcgcamError, match="no such folder"):
        load_model("merl-vit-tiny", _some_weights(tmp_path), tmp_path / "none", "cpu").encode_text(["x"])


def _some_weights(folder: Path) -> Path:
    from tests.models.conftest import keys_of, standin_array

    path = folder / "w.pth"
    torch.save({k: torch.from_numpy(np.asarray(standin_array(k, s))) for k, s in keys_of("merl-vit-tiny")}, path)
    return path
