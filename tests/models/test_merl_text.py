"""Prompts from a table: looked up by text, projected by the checkpoint or taken as they are, and refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ecgcam.errors import EcgcamError
from ecgcam.models.load import load_model
from ecgcam.models.text.table import TableEncoder, read_table

NAME = "merl-vit-tiny"
TEXTS = np.array(["sinus rhythm", "atrial fibrillation", "Acute inferior infarction"])
FEATURES = np.random.default_rng(7).standard_normal((3, 768)).astype("f4")


def save(path: Path, **arrays: Any) -> Path:
    table = {"texts": TEXTS, "features": FEATURES, "tower": "ncbi/MedCPT-Query-Encoder"} | arrays
    np.savez(path, **{key: value for key, value in table.items() if value is not None})
    return path


@pytest.fixture
def load(standin: Callable[[str], Path]) -> Callable:
    return lambda table=None, **more: load_model(NAME, standin(NAME), embeddings=table, device="cpu", **more)


def test_text_features_go_through_the_projection_and_l2(load: Callable, text_table: Path) -> None:
    model = load(text_table)
    embedded = model.encode_text(["atrial fibrillation", "sinus rhythm"])
    with torch.no_grad():
        projected = model.network.project_text(torch.from_numpy(FEATURES[[1, 0]]))
    assert torch.allclose(embedded, projected / projected.norm(dim=1, keepdim=True), atol=1e-6)
    assert not torch.allclose(embedded, projected, atol=1e-2)


def test_joint_embeddings_are_taken_as_they_are_and_normalised(load: Callable, tmp_path: Path) -> None:
    joint = FEATURES[:, :256]
    model = load(save(tmp_path / "joint.npz", features=joint, tower="another"))
    expected = joint / np.linalg.norm(joint, axis=1, keepdims=True)
    assert np.allclose(model.encode_text(list(TEXTS)), expected, atol=1e-6)
    assert model.text.warnings("sinus rhythm") == []


def test_case_and_spaces_do_not_count_but_an_exact_match_comes_first(tmp_path: Path) -> None:
    texts = np.array(["Sinus rhythm", "sinus rhythm", "AF"])
    encoder = TableEncoder(read_table(save(tmp_path / "t.npz", texts=texts, features=np.eye(3) + 0.5)), 3)
    rows = encoder.encode(["sinus rhythm", "Sinus rhythm", "  sinus\tRHYTHM ", "af"])
    assert rows.argmax(dim=1).tolist() == [1, 0, 0, 2]


def test_a_prompt_that_is_not_in_the_table_is_named_with_what_is(load: Callable, text_table: Path) -> None:
    model = load(text_table)
    with pytest.raises(
        EcgcamError, match=r"'pericarditis': not in .*prompts.npz.*'sinus rhythm', 'atrial fibrillation'"
    ):
        model.encode_text(["sinus rhythm", "pericarditis"])


def test_without_a_table_signals_work_and_prompts_say_what_they_need(load: Callable) -> None:
    model = load(offline=True)
    with torch.no_grad():
        assert model.encode_signal(torch.rand(1, 12, 5000)).shape == (1, 256)
    with pytest.raises(EcgcamError, match=r"MedCPT-Query-Encoder: .*`text_model` DIR.*`embeddings`"):
        model.encode_text(["sinus rhythm"])


def test_features_of_another_tower_draw_a_warning(load: Callable, tmp_path: Path, text_table: Path) -> None:
    assert load(text_table).text.warnings("sinus rhythm") == []
    assert load(save(tmp_path / "local.npz", tower="towers/medcpt-query-encoder/")).text.warnings("sinus rhythm") == []
    (said,) = load(save(tmp_path / "other.npz", tower="google/flan-t5-base")).text.warnings("sinus rhythm")
    assert "flan-t5-base" in said
    assert "MedCPT" in said


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"tower": None}, "tower: is missing .*texts, features"),
        ({"features": None}, "features: is missing"),
        ({"texts": np.arange(3)}, "texts: must be a list of strings"),
        ({"texts": TEXTS[:2]}, r"features: must be floats \(2, width\)"),
        ({"texts": TEXTS[:0], "features": FEATURES[:0]}, "texts: must be a list"),
        ({"texts": TEXTS[[0, 1, 0]]}, "texts: 'sinus rhythm' occurs twice"),
        ({"features": FEATURES[0]}, "features: must be floats"),
        ({"features": FEATURES.astype(int)}, "features: must be floats"),
        ({"features": FEATURES[:, :300]}, r"features: rows of 300 numbers do not fit merl-vit-tiny.*768.*256"),
        ({"features": np.where(FEATURES > 2, np.nan, FEATURES)}, "features: the row of .* is not finite"),
        ({"features": FEATURES * np.array([[1], [0], [1]])}, "features: the row of 'atrial fibrillation'.* all zero"),
        ({"tower": np.array(["a", "b"])}, "tower: must be one string"),
        ({"texts": TEXTS.astype(object)}, "not a readable .npz table"),
    ],
)
def test_a_malformed_table_is_refused_by_file_and_key(
    load: Callable, tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    path = save(tmp_path / "bad.npz", **arrays)
    with pytest.raises(EcgcamError, match=rf"bad\.npz: {said}"):
        load(path)


def test_what_is_no_table_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EcgcamError, match="no such table"):
        read_table(tmp_path / "none.npz")
    np.save(tmp_path / "one.npy", FEATURES)
    with pytest.raises(EcgcamError, match=r"one array, not an \.npz table"):
        read_table(tmp_path / "one.npy")
    (tmp_path / "text.npz").write_text("not a table")
    with pytest.raises(EcgcamError, match="not a readable"):
        read_table(tmp_path / "text.npz")


def test_any_model_takes_a_table_of_its_joint_width(standin: Callable[[str], Path], tmp_path: Path) -> None:
    path = save(tmp_path / "mini.npz", features=FEATURES[:, :128])
    model = load_model("mini", standin("mini"), embeddings=path, device="cpu")
    assert model.encode_text(["atrial fibrillation"]).norm().item() == pytest.approx(1)
    with pytest.raises(EcgcamError, match="'pericarditis': not in"):
        model.encode_text(["pericarditis"])
    with pytest.raises(EcgcamError, match=r"768 numbers do not fit mini, which takes 128"):
        load_model("mini", standin("mini"), embeddings=save(tmp_path / "wide.npz"), device="cpu")
