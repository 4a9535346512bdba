"""What speaks against a recording reaches its results, by the command; and no name leads out of the folder of results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Run

from ecgcam.records import CANONICAL_LEADS
from ecgcam.records.simulator import simulate
from ecgcam.results.explanation import Explanation

Signal = np.ndarray
FS = 500


def wfdb_of(path: Path, mv: Signal, gain: str = "1000/mV", checksum: int = 0) -> None:
    """Write (12, N) mV as WFDB; `gain` is what the header says, the samples are microvolts."""
    stored = np.clip(np.round(mv * 1000), -32767, 32767).astype("<i2")
    path.with_suffix(".dat").write_bytes(stored.T.tobytes())
    lines = [
        f"{path.stem}.dat 16 {gain} 16 0 {row[0]} {checksum} 0 {lead}"
        for lead, row in zip(CANONICAL_LEADS, stored, strict=True)
    ]
    path.with_suffix(".hea").write_text("\n".join([f"{path.stem} 12 {FS} {mv.shape[1]}", *lines]) + "\n")


def twice(mv: Signal) -> None:
    mv[7] = mv[6]


def check_einthoven(mv: Signal) -> None:
    mv[2] = -mv[2] + 0.3


def arms(mv: Signal) -> None:
    mv[0] *= -1
    mv[[1, 2]] = mv[[2, 1]]
    mv[[3, 4]] = mv[[4, 3]]


def constant(mv: Signal) -> None:
    mv[8] = 0.7


def disconnected(mv: Signal) -> None:
    mv[9] = 0.0


def clipped(mv: Signal) -> None:
    mv[6] = np.clip(mv[6], np.quantile(mv[6], 0.03), np.quantile(mv[6], 0.97))


def saturated(mv: Signal) -> None:
    mv[10, 1000:2000] = 5.0


def mains(mv: Signal) -> None:
    mv[11] += 0.3 * np.sin(2 * np.pi * 50 * np.arange(mv.shape[1]) / FS)


def unit_tall(mv: Signal) -> None:
    mv -= mv.min(axis=1, keepdims=True)
    mv /= mv.max(axis=1, keepdims=True)


LIES: dict[str, tuple[Callable[[Signal], None] | None, dict[str, object], str]] = {
    "honest": (None, {}, ""),
    "checksums": (None, {"checksum": 12345}, "checksums of the header do not fit the samples"),
    "gain of 0": (None, {"gain": "0"}, "no gain in the header, WFDB's 200 per mV assumed: I, II"),
    "microvolts as millivolts": (None, {"gain": "1/mV"}, "implausibly large"),
    "millivolts as microvolts": (None, {"gain": "1000/uV"}, "implausibly small"),
    "unit tall": (unit_tall, {}, "every lead is 1 mV tall"),
    "twice": (twice, {}, "V1"),
    "einthoven": (check_einthoven, {}, "Einthoven"),
    "arms": (arms, {}, "arm"),
    "constant": (constant, {}, "flat or missing leads: V3"),
    "disconnected": (disconnected, {}, "flat or missing leads: V4"),
    "clipped": (clipped, {}, "clipped or saturated: V1"),
    "saturated": (saturated, {}, "clipped or saturated: V5"),
    "mains": (mains, {}, "50 Hz"),
}


def test_the_warnings_of_a_lying_recording_are_in_its_results(ecgcam: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    true = simulate("normal", 8).signal
    for number, (change, header, _) in enumerate(LIES.values()):
        mv = np.array(true, float)
        if change is not None:
            change(mv)
        wfdb_of(tmp_path / f"in/r{number}", mv, **header)  # type: ignore[arg-type]  # as the table has them
    got = ecgcam(
        "explain", tmp_path / "in", "--text", "af", "--no-png", "--no-gradient", "--quiet", "--out", tmp_path / "out"
    )
    assert (got.code, got.err) == (0, "")
    told = {}
    for number, name in enumerate(LIES):
        folder = tmp_path / f"out/r{number}/af"
        told[name] = json.loads((folder / "summary.json").read_text())["warnings"]
        assert Explanation.load(folder).meta["warnings"] == told[name]
    usual = set(told["honest"])
    for name, (_, _, says) in LIES.items():
        new = [warning for warning in told[name] if warning not in usual]
        assert any(says in warning for warning in new) or not says, (name, new)
    assert any(character.isdigit() for character in next(w for w in told["einthoven"] if "Einthoven" in w))


@pytest.mark.parametrize("prompt", ["../../x", "/etc/x", "..", ".", "~", "x\x00y", "a" * 300, "CON", "\\..\\x"])
def test_no_prompt_or_name_leads_out_of_the_folder(
    ecgcam: Run, lead_v1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prompt: str
) -> None:
    (tmp_path / "here/below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    for name in ("..npy", "...npy", "x" * 200 + ".npy"):
        (tmp_path / name).write_bytes(lead_v1.read_bytes())
    names = ["../..npy", "below/../../...npy", "../" + "x" * 200 + ".npy"]
    before = set(tmp_path.rglob("*"))
    got = ecgcam(
        "explain", *names, "--text", prompt, "--fs", "500", "--lead-names", "V1", "--no-png", "--no-gradient", "--quiet"
    )  # fmt: skip
    refused = [line for line in got.err.splitlines() if "has no name that a folder of results can have" in line]
    assert (got.code, len(refused)) == (2, 1)
    assert set(tmp_path.rglob("*")) == before
    got = ecgcam(
        "explain", names[-1], "--text", prompt, "--fs", "500", "--lead-names", "V1", "--no-png", "--no-gradient", "--quiet"
    )  # fmt: skip
    assert (got.code, got.err) == (0, "")
    out = tmp_path / "here/ecgcam-out"
    made = set(tmp_path.rglob("*")) - before
    assert {path.name for path in made} >= {"explanation.npz", "summary.json"}
    assert all(path == out or out in path.parents for path in made)
