"""`ecgcam score --criteria`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from ecgcam import EcgcamError, load_model, score
from ecgcam.records.criteria import criteria_of


def test_each_finding_is_scored_by_its_criteria_too(ecgcam: Run, recordings: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("atrial fibrillation\na cat\n", encoding="utf-8")
    path = recordings / "af-7.dat"
    found = ecgcam("score", path, "--criteria", "--text-file", prompts, "--json")
    assert found.code == 0
    row = json.loads(found.out)
    assert set(row["scores"]) == {"atrial fibrillation", "a cat"}
    # The same by hand, phrase by phrase.
    model = load_model("mini")
    criteria = criteria_of("af")
    words = [text for one in criteria for text in (*one.positive, *one.negative)]
    (by_text,) = score(path, words, model)
    parts = [
        sum(by_text[text] for text in one.positive) / len(one.positive)
        - sum(by_text[text] for text in one.negative) / len(one.negative)
        for one in criteria
    ]
    assert row["criteria"] == {"atrial fibrillation": pytest.approx(sum(parts) / len(parts), abs=1e-5)}
    # Python does the same with the same words.
    assert score(path, ["atrial fibrillation", "a cat"], model, criteria=True) == [
        {name: pytest.approx(values, abs=1e-5) for name, values in row.items() if name != "record"}
    ]
    table = ecgcam("score", path, "--criteria", "--text-file", prompts).out
    assert "–" in next(line for line in table.splitlines() if line.endswith("a cat"))


def test_prompts_without_criteria_are_one_line(ecgcam: Run, recordings: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat\n", encoding="utf-8")
    found = ecgcam("score", recordings / "af-7.dat", "--criteria", "--text-file", prompts)
    assert found.code == 2
    assert "--criteria: none of the prompts is a finding with criteria" in found.err
    with pytest.raises(EcgcamError, match="`criteria`: none of the prompts is a finding with criteria"):
        score(recordings / "af-7.dat", "a cat", criteria=True)
