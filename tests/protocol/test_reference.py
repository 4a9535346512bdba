"""How far a recording lies from those that a model knows: by hand, and what mini's statistics were taken with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.toys import toy_model
from torch import nn
from training.familiarity import distances, fit_reference

from ecgcam.attribution.hooks import observe
from ecgcam.errors import EcgcamError
from ecgcam.models.load import load_model
from ecgcam.protocol.reference import Reference, find_reference, reference_beside
from ecgcam.protocol.spec import LayerSpec

CPU = torch.device("cpu")


def by_hand() -> Reference:
    """Two channels of mean 1 and spread 2; known cells at (0, 0) and (3, 4) in those units; one known direction."""
    return Reference(
        "a" * 64, "look", torch.ones(2), torch.full((2,), 2.0), torch.tensor([[0.0, 0.0], [3.0, 4.0]]),
        torch.tensor([[1.0, 0.0]]), (0.1, 0.5),
    )  # fmt: skip


def test_distances_by_hand() -> None:
    reference = by_hand()
    # Cells at (0, 0), (3, 4) and (3, 2) in units of spread: 0, 0 and 2 from the nearest; the last is sqrt(13) from the mean.
    cells = 1 + 2 * torch.tensor([[[0.0, 3.0, 3.0], [0.0, 4.0, 2.0]]])
    assert reference.cell_distance(cells).tolist() == pytest.approx([2 / (1 + 13**0.5) / 3])
    with torch.autocast("cpu", torch.bfloat16):
        assert reference.cell_distance(cells.bfloat16()).tolist() == pytest.approx([2 / (1 + 13**0.5) / 3])
    embeddings = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [1.0, 1.0]])
    assert reference.embedding_distance(embeddings).tolist() == pytest.approx([0, 1, 2, 1 - 0.5**0.5], abs=1e-6)
    # The larger of the two, each over its limit.
    both = reference.distance(torch.tensor([0.05, 0.05, 0.3]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
    assert both.tolist() == pytest.approx([0.5, 2.0, 3.0])


def test_files_come_back_and_those_of_other_weights_are_not_used(tmp_path, caplog) -> None:
    weights = tmp_path / "own.pt"
    assert find_reference(weights, "a" * 64, CPU) is None
    by_hand().save(reference_beside(weights))
    again = find_reference(weights, "a" * 64, CPU)
    assert again is not None
    for name in ("mean", "spread", "centres", "embeddings"):
        assert torch.equal(getattr(again, name), getattr(by_hand(), name))
    assert (again.layer, again.limits) == ("look", (0.1, 0.5))
    assert find_reference(weights, "b" * 64, CPU) is None
    assert "statistics of other weights" in caplog.text
    np.savez(reference_beside(weights), layer="look")
    with pytest.raises(EcgcamError, match=r"own-reference\.npz: not statistics .* \(no checkpoint, limits"):
        find_reference(weights, "a" * 64, CPU)


def test_a_prompt_s_scores_are_those_of_recordings_without_its_finding(tmp_path) -> None:
    known = replace(
        by_hand(),
        embeddings=torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]),
        without={"left bundle branch block": np.array([False, True, True])},
    )
    direction = torch.tensor([0.5, 0.25])
    scores, without = known.scores(direction, "left bundle branch block")
    assert (scores.tolist(), without) == ([0.25, -0.5], True)
    for prompt in ("a finding of no vocabulary", None):
        scores, without = known.scores(direction, prompt)
        assert (scores.tolist(), without) == ([0.5, 0.25, -0.5], False)
    weights = tmp_path / "own.pt"
    known.save(reference_beside(weights))
    again = find_reference(weights, "a" * 64, CPU)
    assert again is not None
    assert {name: row.tolist() for name, row in again.without.items()} == {
        "left bundle branch block": [False, True, True]
    }


@pytest.mark.parametrize(
    "wrong",
    [{"prompts": None}, {"prompts": np.array([1])}, {"without": np.ones((1, 2), bool)}, {"without": np.ones((1, 3))}],
)
def test_labels_that_do_not_fit_the_recordings_are_refused(wrong: dict[str, Any], tmp_path) -> None:
    weights = tmp_path / "own.pt"
    known = replace(by_hand(), embeddings=torch.eye(3)[:, :2], without={"a": np.array([True, False, True])})
    known.save(reference_beside(weights))
    with np.load(reference_beside(weights)) as file:
        arrays = dict(file) | wrong
    np.savez(reference_beside(weights), **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(EcgcamError, match="do not fit together"):
        find_reference(weights, "a" * 64, CPU)


def test_what_was_fitted_knows_its_own_and_not_others() -> None:
    """Known recordings hold values near 0 and 1; held-out ones too; what holds 0.5 lies between all that is known."""
    network = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    model = toy_model(network, {"0": LayerSpec("BCT", 1.0, 0.0)}, samples=40, similarity="cosine")
    rng = np.random.default_rng(0)
    known, held_out = (
        (rng.integers(2, size=(100, 2, 40)) + 0.01 * rng.standard_normal((100, 2, 40))).astype(np.float32)
        for _ in range(2)
    )
    reference = fit_reference(model, known, held_out, centres=4)
    cells, embeddings = distances(model, held_out, reference)
    assert cells.max() < 0.02  # four kinds of cells, four centres
    far = (cells > reference.limits[0]) | (embeddings > reference.limits[1])
    assert far.sum() == 1  # of a hundred: all but 99 %
    between, _ = distances(model, np.full((3, 2, 40), 0.5, np.float32), reference)
    # Half a unit off in both channels, of a spread of a half: 1 from the nearest in each, 0 from the mean.
    assert between.tolist() == pytest.approx([2**0.5] * 3, rel=0.1)


def test_watching_changes_nothing_and_leaves_nothing() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(2, 2, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    model = toy_model(network, {"0": LayerSpec("BCT", 1.0, 0.0)})
    x = torch.randn(3, 2, 8)
    plain = model.encode_signal(x)
    with observe(model, "0", lambda cells: cells.amin(dim=(1, 2))) as observed:
        assert torch.equal(model.encode_signal(x), plain)
    assert len(observed) == 1
    assert (observed[0] < 0).all()  # before the relu, which writes over them in place
    with pytest.raises(ValueError, match="boom"), observe(model, "0", lambda cells: cells) as observed:
        raise ValueError("boom")
    assert not any(module._forward_hooks for module in network.modules())


def test_mini_s_statistics_are_of_its_weights() -> None:
    """Where this fails the weights are new: `python -m training.reference --data PTBXL` takes the statistics anew."""
    mini = load_model("mini", device="cpu")
    assert mini.reference is not None
    assert mini.reference.checkpoint == mini.checkpoint_sha256
