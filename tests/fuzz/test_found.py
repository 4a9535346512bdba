"""What fuzzing found in files that ecgcam itself wrote, and in pictures, as the smallest file that shows it: one line each."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ecgcam.errors import EcgcamError
from ecgcam.runs.evaluate_call import known_entries
from tests.fuzz.harness import Files
from tests.fuzz.results import (
    ASKED,
    annotation,
    annotation_seeds,
    evidence,
    evidence_seeds,
    manifest,
    manifest_seeds,
    reference,
    reference_seeds,
    timeline,
    timeline_seeds,
    truth,
    truth_seeds,
)

DEEP = b"[" * 200_000


def refused(folder: Path, files: Files, read: Callable[[Path, Files, Files], None]) -> str:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with pytest.raises(EcgcamError) as caught:
        read(folder, files, files)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        DEEP,
        b'{"record": ["a"], "fingerprint": 7}',
        b'{"record": "\\ud800", "fingerprint": "f"}',
        b"7",
        b"\xff",
    ],
)
def test_a_journal_s_line_is_passed_over(tmp_path: Path, line: bytes) -> None:
    (files,) = manifest_seeds()
    (tmp_path / "a/af").mkdir(parents=True)
    for name, content in ({**files, "manifest.jsonl": line + b"\n" + files["manifest.jsonl"]}).items():
        (tmp_path / name).write_bytes(content)
    manifest(tmp_path, {}, {})


@pytest.mark.parametrize("summary", [b"{", DEEP, b"[]", b"{}", b'{"settings": 3}', b'{"spec": 3}', b"\xff"])
def test_a_summary_of_an_earlier_call(tmp_path: Path, summary: bytes) -> None:
    (files,) = manifest_seeds()
    (tmp_path / "a/af").mkdir(parents=True)
    for name, content in ({**files, "a/af/summary.json": summary}).items():
        (tmp_path / name).write_bytes(content)
    manifest(tmp_path, {}, {})


@pytest.mark.parametrize("row", [b"3", b'{"text": "af"}', DEEP])
def test_a_table_of_evidence(tmp_path: Path, row: bytes) -> None:
    files = evidence_seeds()[1]
    assert "evidence.json" in refused(tmp_path, {**files, "evidence.json": row}, evidence)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1" + "0" * 400, "true"])
def test_a_measure_that_is_no_number(tmp_path: Path, number: str) -> None:
    files = evidence_seeds()[0]
    table = files["evidence.jsonl"].replace(b"0.25", number.encode())
    assert "row 1: its low is not a number" in refused(tmp_path, {**files, "evidence.jsonl": table}, evidence)


def test_a_prompt_may_hold_a_line_separator(tmp_path: Path) -> None:
    for name, content in evidence_seeds()[0].items():
        assert "\u2028".encode() in evidence_seeds()[0]["evidence.jsonl"]
        (tmp_path / name).write_bytes(content)
    evidence(tmp_path, {}, {})


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"record": "a"},
        None,
        {"record": "a", "start": "x", "text": "", "method": "", "mask": "", "values": {}, "chances": {}},
    ],
)
def test_a_journal_s_entry_is_passed_over(tmp_path: Path, entry: object) -> None:
    lines = [{"spec": ASKED, "fingerprint": "f"}, {"record": "a", "entries": [entry], "fingerprint": "g"}]
    (tmp_path / "evidence.jsonl").write_bytes(evidence_seeds()[0]["evidence.jsonl"])
    (tmp_path / "evidence-records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    evidence(tmp_path, {}, {})
    assert known_entries(tmp_path / "evidence-records.jsonl") == {}


def changed(files: Files, **arrays: Any) -> Files:
    ((name, content),) = files.items()
    written = io.BytesIO()
    np.savez(written, **{**np.load(io.BytesIO(content)), **arrays})
    return {name: written.getvalue()}


@pytest.mark.parametrize("fs", [np.array("a"), np.array(250j), np.inf, np.nan, 1e300, np.array([250.0, 1.0]), True])
def test_the_rate_of_a_truth(tmp_path: Path, fs: object) -> None:
    assert "its fs is not a sampling rate" in refused(tmp_path, changed(truth_seeds()[0], fs=fs), truth)


@pytest.mark.parametrize(
    "arrays",
    [
        {"map": np.ones((2, 40))}, {"score": np.array([np.nan, 1])}, {"strongest": np.array([5])}, {"step": np.ones(3)},
        {"meta": np.array("[")}, {"meta": np.array("{}")}, {"time": np.array(["a"] * 40)}, {"strongest": np.array([0.5])},
    ],
)  # fmt: skip
def test_a_timeline_s_arrays(tmp_path: Path, arrays: dict[str, Any]) -> None:
    assert "not a timeline of ecgcam" in refused(tmp_path, changed(timeline_seeds()[0], **arrays), timeline)


@pytest.mark.parametrize(
    "arrays",
    [
        {"limits": np.ones(3)}, {"mean": np.ones(5)}, {"centres": np.ones((0, 4))}, {"spread": np.array(["a"] * 4)},
        {"embeddings": np.full((5, 6), np.nan)},
    ],
)  # fmt: skip
def test_a_reference_s_arrays(tmp_path: Path, arrays: dict[str, Any]) -> None:
    assert "do not fit together" in refused(tmp_path, changed(reference_seeds()[0], **arrays), reference)


def test_a_sierra_file_of_no_leads(tmp_path: Path) -> None:
    from ecgcam.records import read_record
    from tests.records.formats_by_hand import sierra

    path = sierra(tmp_path / "rec.xml", b"    ", "", 100, encoding="utf-8")
    with pytest.raises(EcgcamError, match="names no leads"):
        read_record(path)


def test_a_mark_far_outside_the_recording(tmp_path: Path) -> None:
    (files, _) = annotation_seeds()
    far = b"\x00\xec\xff\x7f\xff\xff" + files["rec.atr"]  # SKIP, 2^31 - 1 samples
    said = refused(tmp_path, {**files, "rec.atr": far}, annotation)
    assert "outside the recording" in said or "is not a WFDB annotation" in said


def test_a_picture_with_a_broken_chunk(tmp_path: Path) -> None:
    from ecgcam.render.scan import read_scan

    Image.new("RGB", (400, 300)).save(tmp_path / "page.png")
    whole = (tmp_path / "page.png").read_bytes()
    (tmp_path / "page.png").write_bytes(whole.replace(b"IDAT", b"\0\0\0I", 1))
    with pytest.raises(EcgcamError, match="cannot be read as a picture"):
        read_scan(tmp_path / "page.png")


def test_a_dicom_element_that_promises_four_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read from a file, pydicom asks for what an element's length says before it looks at what is there."""
    import builtins

    from ecgcam.records import read_record
    from tests.fuzz.labs import dicom_seeds

    whole = dicom_seeds()[0]["rec.dcm"]
    at = whole.index(b"\x00\x54\x10\x10OW") if b"\x00\x54\x10\x10OW" in whole else whole.index(b"OW\0\0") - 4
    path = tmp_path / "rec.dcm"
    path.write_bytes(whole[: at + 8] + b"\xf0\xff\xff\xff" + whole[at + 12 :])
    opened: list[str] = []
    real = builtins.open
    monkeypatch.setattr(
        builtins, "open", lambda file, *rest, **more: (opened.append(str(file)), real(file, *rest, **more))[1]
    )
    with pytest.raises(EcgcamError, match="DICOM"):
        read_record(path)
    assert str(path) not in opened  # pydicom is given bytes in memory alone
