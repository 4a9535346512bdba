"""Several phrasings of one prompt: the mean of their embeddings, renormalised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ecgcam.cli.app import run
from ecgcam.models.load import load_model


def test_phrasings_are_the_renormalised_mean_of_their_embeddings() -> None:
    model = load_model("mini", device="cpu")
    one, two, other = model.encode_text(["atrial fibrillation", "irregular rhythm", "normal ECG"])
    mixed = (one + two) / 2
    expected = torch.stack([other, mixed / mixed.norm()])
    found = model.encode_text(["normal ECG", "atrial fibrillation |  irregular rhythm"])
    assert torch.allclose(found, expected, atol=1e-6)
    assert float(found[1] @ one) < 0.999  # the two phrasings do differ


def test_a_bar_without_spaces_is_part_of_the_prompt_and_the_empty_text_stays() -> None:
    model = load_model("mini", device="cpu")
    together, apart, empty = model.encode_text(["sinus|rhythm", "sinus | rhythm", ""])
    assert not torch.allclose(together, apart, atol=1e-4)
    assert empty.norm().item() == pytest.approx(1)


def test_a_score_that_is_no_cosine_takes_the_plain_mean(tmp_path: Path) -> None:
    features = np.random.default_rng(0).standard_normal((2, 128)).astype("f4")
    np.savez(tmp_path / "t.npz", texts=np.array(["a", "b"]), features=features, tower="any")
    model = load_model("mini", embeddings=tmp_path / "t.npz", device="cpu")
    model.spec = type(model.spec)(**{**vars(model.spec), "similarity": "dot"})
    assert np.allclose(model.encode_text(["a | b"])[0], features.mean(axis=0), atol=1e-6)


def test_a_table_keeps_phrasings_that_were_embedded_together(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("atrial fibrillation | irregular rhythm\n", encoding="utf-8")
    assert run(["embed", "--text-file", str(tmp_path / "p.txt"), "--out", str(tmp_path / "t.npz")]) == 0
    text = ["atrial fibrillation | irregular rhythm"]
    direct = load_model("mini", device="cpu").encode_text(text)
    read = load_model("mini", embeddings=tmp_path / "t.npz", device="cpu").encode_text(text)
    assert torch.allclose(direct, read, atol=1e-6)
