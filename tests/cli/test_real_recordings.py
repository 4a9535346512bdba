"""Real recordings by the command: every hard one a result or a line, and twenty that give the same however the call is cut up."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.conftest import Run, load_once

from ecgcam import explain_many
from ecgcam.models.load import load_model
from ecgcam.records import Record, read_record
from ecgcam.results.explanation import Explanation

ARRAYS = ("map", "map_cells", "gradient", "gradient_smoothed", "lead_scores", "mask_shift")


@pytest.mark.shared
@pytest.mark.slow
def test_every_hard_recording_is_a_result_or_a_line(
    ecgcam: Run, shared: Path, unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 40 of CinC 2011 set-a, 25 of them unacceptable, and three XML files: 36 results; 7 refused, without any signal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ecgcam.models.load.load_model", load_once)
    headers = sorted((unpacked / "quality").glob("*.hea"))
    got = ecgcam(
        "explain", unpacked / "quality", shared / "data/formats", "--text", "atrial fibrillation", "--no-png", "--out", "out"
    )  # fmt: skip
    assert got.code == 1
    assert "/out" not in got.err
    silent = {path.stem for path in headers if not any(np.ptp(row) > 0 for row in read_record(path).signal)}
    assert len(headers) == 40
    assert len(silent) == 7
    refused = [line for line in got.err.splitlines() if line.startswith("ecgcam: ")]
    assert {line.split(": ")[1] for line in refused} == silent
    assert all("no lead has a signal between 0 and 10 s (all flat or missing)" in line for line in refused)
    assert all(line.startswith(("ecgcam: ", "note: ")) for line in got.err.splitlines())
    made = {path.parent.parent.name for path in (tmp_path / "out").rglob("explanation.npz")}
    assert made == {path.stem for path in headers} - silent | {
        path.stem for path in (shared / "data/formats").glob("*.xml")
    }
    for path in (tmp_path / "out").rglob("explanation.npz"):
        one = Explanation.load(path)
        one.check()
        flat = [lead for lead, valid in zip(one.leads, one.valid, strict=True) if not valid.any()]
        noted = [note for note in one.meta["warnings"] if note.startswith("flat or missing leads: ")]
        assert noted == ([f"flat or missing leads: {', '.join(flat)}"] if flat else [])
        assert not one.map[~one.valid].any()
        assert json.loads((path.parent / "summary.json").read_text())["warnings"] == one.meta["warnings"]


FAMILIES: dict[str, dict[str, Any]] = {
    "grad-cam": {},
    "layer-cam": {},
    "integrated-gradients": {"steps": 8},
    "guided-backprop": {},
    "occlusion": {"window_ms": 1000, "stride_ms": 1000},
    "lead-shapley": {"permutations": 4},
    "smooth-grad": {"draws": 3},
    "eigen-grad-cam": {},
}


@pytest.fixture(scope="module")
def twenty(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to twenty recordings of PTB-XL."""
    folder = tmp_path_factory.mktemp("twenty")
    for header in sorted((unpacked / "ptbxl").rglob("*.hea"))[:: 2659 // 20][:20]:
        for path in (header, header.with_suffix(".dat")):
            (folder / path.name).symlink_to(path)
    return folder


def assert_near(one: Explanation, other: Explanation, where: str) -> None:
    """Equal to 1e-5, of an array's largest value where that is above 1."""
    for name in ARRAYS:
        first, second = np.asarray(getattr(one, name), float), np.asarray(getattr(other, name), float)
        most = np.abs(first).max(initial=0)
        assert np.abs(first - second).max(initial=0) <= 1e-5 * max(1.0, most), (where, name, most)
    assert other.score == pytest.approx(one.score, abs=1e-5)


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("method", FAMILIES)
def test_twenty_give_the_same_however_the_call_is_cut_up(
    ecgcam: Run, twenty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Alone; in batches of 7 and 64 in another order; by the command with helpers; Grad-CAM by Ray as well."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ecgcam.models.load.load_model", load_once)
    texts, model = ["atrial fibrillation", "left bundle branch block"], load_model("mini")
    paths = sorted(twenty.glob("*.hea"))
    assert len(paths) == 20
    records = [read_record(path) for path in paths]

    def run(some: list[Record], batch: int) -> Iterator[Explanation]:
        return explain_many(some, texts, model, method=method, options=FAMILIES[method], batch=batch)

    alone = {(one.meta["record"], one.meta["text"]): one for record in records for one in run([record], 1)}
    assert len(alone) == 2 * len(paths)
    assert sum(one.map.any() for one in alone.values()) > 1.5 * len(paths)
    mixed = random.Random(5).sample(records, len(paths))  # noqa: S311  (the same every time)
    for some, batch in ((mixed, 7), (records[::-1], 64)):
        for other in run(some, batch):
            assert_near(alone[other.meta["record"], other.meta["text"]], other, f"batch {batch}")
    engines = [("--jobs", "1"), ("--jobs", "2")]
    if method == "grad-cam" and _ray():
        engines.append(("--engine", "ray"))
    options = [word for key, value in FAMILIES[method].items() for word in ("--set", f"{key}={value}")]
    prompts = [word for text in texts for word in ("--text", text)]
    for engine in engines:
        out = tmp_path / engine[-1]
        got = ecgcam(
            "explain", *paths, *prompts, "--method", method, *options, *engine, "--no-png", "--quiet", "--out", out
        )
        assert (got.code, got.err) == (0, "")
        made = list(out.rglob("explanation.npz"))
        assert len(made) == 2 * len(paths)
        for path in made:
            other = Explanation.load(path)
            assert_near(alone[other.meta["record"], other.meta["text"]], other, " ".join(engine))


def _ray() -> bool:
    """Ray comes with `make ci`, where its absence is an error; elsewhere it may be missing."""
    if not os.environ.get("CI"):
        pytest.importorskip("ray")
    return True
