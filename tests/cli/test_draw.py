"""`ecgcam draw`: the same pictures again, without a model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Run, tree
from tests.handmade import explanation

from ecgcam.cli.cmd_draw import _outline
from ecgcam.evidence.truths import read_truth
from ecgcam.runs.packs import Packs
from ecgcam.runs.writer import Outputs, encode_result, write_result

NAMES = ["lead-I.png", "lead-V1.png", "page.png"]


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A folder of results with pictures, at the default scale."""
    folder = tmp_path / "out/rec/atrial-fibrillation"
    write_result(explanation(), folder)
    (folder / "notes.txt").write_text("mine")
    return folder


def test_pictures_are_drawn_again_beside_the_arrays_byte_for_byte(ecgcam: Run, result: Path) -> None:
    before = tree(result)
    for name in NAMES:
        (result / name).write_bytes(b"")
    got = ecgcam("draw", result / "explanation.npz")
    assert (got.code, got.out, got.err) == (0, f"{result}\n", "")
    assert tree(result) == before


def test_the_scale_changes_the_pictures_and_out_leaves_the_originals(ecgcam: Run, result: Path, tmp_path: Path) -> None:
    before = tree(result)
    assert ecgcam("draw", tmp_path / "out", "--scale", "lead", "--out", tmp_path / "new").code == 0
    assert tree(result) == before
    drawn = tree(tmp_path / "new/rec/atrial-fibrillation")
    assert sorted(drawn) == NAMES
    assert drawn["lead-V1.png"] != before["lead-V1.png"]  # blank in the scale of evidence: its gain is negative


def test_formats_width_and_a_caption_for_a_journal(ecgcam: Run, result: Path, tmp_path: Path) -> None:
    got = ecgcam("draw", result, "--format", "pdf", "--format", "svg", "--width-mm", "180", "--out", tmp_path / "new")
    assert got.code == 0, got.err
    folder = tmp_path / "new/rec/atrial-fibrillation"
    stems = ("lead-I", "lead-V1", "page")
    assert sorted(tree(folder)) == sorted(
        ["caption.txt", *(f"{stem}.{end}" for stem in stems for end in ("pdf", "svg"))]
    )
    caption = (folder / "caption.txt").read_text()
    for words in (
        "atrial fibrillation",
        "score 0.750",
        "method grad-cam",
        "layer a.b",
        "Research use only",
        "A warning",
    ):
        assert words in caption
    svg = (folder / "page.svg").read_text()
    assert "<title>“atrial fibrillation”</title>" in svg
    assert 'width="510.2' in svg  # 180 mm in points
    assert ">I</text>" in svg  # text, not outlines


def test_the_truth_is_outlined_on_request(ecgcam: Run, result: Path, tmp_path: Path) -> None:
    """Of the pictures the page alone changes; samples 3.2 to 3.5 s of lead I are the truth."""
    mask = np.zeros((1, 50), bool)
    mask[0, 32:35] = True
    np.savez(tmp_path / "rec-truth.npz", mask=mask, leads=np.array(["I"]), fs=10.0)
    before = tree(result)
    got = ecgcam("draw", result, "--truth", tmp_path / "rec-truth.npz", "--out", tmp_path / "new")
    assert got.code == 0, got.err
    drawn = tree(tmp_path / "new/rec/atrial-fibrillation")
    assert drawn["lead-I.png"] == before["lead-I.png"]
    assert drawn["page.png"] != before["page.png"]
    assert _outline(read_truth(tmp_path / "rec-truth.npz"), explanation()).nonzero()[1].tolist() == [2, 3, 4]
    got = ecgcam("draw", result, "--annotations", "atr:V")
    assert (got.code, got.err.count("\n")) == (2, 1)


def test_several_results_in_one_figure(ecgcam: Run, result: Path, tmp_path: Path) -> None:
    write_result(explanation("normal ECG"), tmp_path / "out/rec/normal-ecg", Outputs(png=False))
    file = tmp_path / "figure.png"
    got = ecgcam("draw", tmp_path / "out", "--together", file, "--dpi", "60")
    assert (got.code, got.out) == (0, f"{file}\n")
    with Image.open(file) as image:
        assert image.width == pytest.approx(366 / 25.4 * 60, abs=1)
    caption = (tmp_path / "figure-caption.txt").read_text()
    assert caption.startswith("(a) “atrial fibrillation”")
    assert "(b) “normal ECG”" in caption
    got = ecgcam("draw", tmp_path / "out", "--together", file, "--format", "pdf")
    assert (got.code, got.err.count("\n")) == (2, 1)


def test_windows_of_a_recording_keep_their_folders(ecgcam: Run, tmp_path: Path) -> None:
    write_result(explanation(), tmp_path / "out/rec/atrial-fibrillation/w00003.000", Outputs(png=False))
    assert ecgcam("draw", tmp_path / "out", "--out", tmp_path / "new").code == 0
    assert (tmp_path / "new/rec/atrial-fibrillation/w00003.000/page.png").is_file()


def test_a_pack_is_drawn_into_out_only(ecgcam: Run, tmp_path: Path) -> None:
    _, files = encode_result(explanation(), Path("rec/atrial-fibrillation"), Outputs(png=False))
    Packs(tmp_path, 10).add("rec/atrial-fibrillation", files)
    got = ecgcam("draw", tmp_path)
    assert got.code == 2
    assert "choose a folder with --out DIR" in got.err
    assert ecgcam("draw", tmp_path, "--out", tmp_path / "new").code == 0
    assert (tmp_path / "new/rec/atrial-fibrillation/page.png").is_file()


def test_what_is_damaged_fails_alone(ecgcam: Run, result: Path, tmp_path: Path) -> None:
    bad = tmp_path / "out/bad/explanation.npz"
    bad.parent.mkdir()
    bad.write_bytes((result / "explanation.npz").read_bytes()[:300])
    got = ecgcam("draw", tmp_path / "out")
    assert (got.code, got.out) == (1, f"{result}\n")
    assert got.err.startswith(f"ecgcam: {bad}: not an explanation of ecgcam")
    assert got.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["empty"], "empty: holds no result"),
        (["truth.npz"], "truth.npz: not an explanation of ecgcam"),
        (["out", "--scale", "loud"], "--scale loud: no such choice"),
        (["out", "--layout", "round"], "--layout round: no such choice"),
        (["out", "--format", "gif"], "--format gif: no such picture format; choose from png, pdf, svg"),
        (["out", "--dpi", "3"], "--dpi 3: must lie between 30 and 2400"),
        (["out", "--width-mm", "20"], "--width-mm 20: must lie between 80 and 2000"),
    ],
)
def test_bad_input_is_one_line(
    ecgcam: Run, result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "truth.npz", mask=np.zeros((12, 10), bool))
    before = tree(tmp_path)
    got = ecgcam("draw", *arguments)
    assert (got.code, got.out, got.err.count("\n")) == (2, "", 1)
    assert says in got.err
    assert tree(tmp_path) == before


def test_two_results_with_one_place_do_not_hide_each_other(ecgcam: Run, result: Path, tmp_path: Path) -> None:
    write_result(explanation(), tmp_path / "other/rec/atrial-fibrillation", Outputs(png=False))
    got = ecgcam("draw", tmp_path / "out", tmp_path / "other", "--out", tmp_path / "new")
    assert got.code == 1
    assert "its pictures would replace those of" in got.err


def test_drawing_needs_no_torch(result: Path) -> None:
    code = (
        f"import sys; from ecgcam.cli.app import run; run(['draw', {str(result)!r}]); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
