"""The report as a document: what is in it, what cannot be, and that its numbers are the explanation's."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.handmade import explanation

from ecgcam.errors import EcgcamError
from ecgcam.render.colour import NEGATIVE, POSITIVE, STRONGEST, colours
from ecgcam.render.report import read_judgements, report_html


def content(page: str) -> Any:
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(data)


def unpacked(stored: Any, kind: str = "<i2") -> Any:
    whole = np.frombuffer(base64.b64decode(stored["data"]), kind).reshape(len(stored["step"]), -1)
    return whole * np.array(stored["step"])[:, None]


def test_the_numbers_are_the_explanation_s() -> None:
    made = explanation()
    page = content(report_html([(made, {})]))
    (result,), (signal,) = page["results"], page["signals"].values()
    np.testing.assert_allclose(unpacked(result["map"]), made.map, atol=6 / 32767)
    np.testing.assert_allclose(unpacked(signal["mv"]), made.signal, atol=1 / 32767)
    np.testing.assert_allclose(unpacked(result["gradient"], "i1"), made.gradient_smoothed, atol=0.5 / 127)
    assert (result["score"], result["empty"]) == (0.75, 0.25)
    assert [lead["gain"] for lead in result["leads"]] == [0.5, -0.25]
    assert [lead["moments"] for lead in result["leads"]] == [made.moments(0), made.moments(1)]
    assert (signal["start"], signal["fs"], signal["samples"], signal["leads"]) == (3.0, 10.0, 10, ["I", "V1"])


@pytest.mark.parametrize("scale", ["evidence", "lead", "raw"])
def test_colours_are_those_of_the_pictures(scale: str) -> None:
    made = explanation()
    page = content(report_html([(made, {})]))
    (result,) = page["results"]
    of = result["scales"][scale]
    np.testing.assert_allclose(
        unpacked(result["map"]) * np.array(of["factor"])[:, None], made.scaled_map(scale), atol=1e-3
    )
    assert of["top"] == pytest.approx(colours(made, scale).vmax)
    assert page["palette"] == {"positive": list(POSITIVE), "negative": list(NEGATIVE), "strongest": STRONGEST}


def test_hand_worked_evidence() -> None:
    # Lead I: gain 0.5 over a mass of 2 s, so a map of 6 is 1.5 a second; V1's gain is negative, so it stays blank.
    of = content(report_html([(explanation(), {})]))["results"][0]["scales"]["evidence"]
    assert of["factor"] == [0.25, 0.0]
    assert of["top"] == 1.5


def test_a_tall_lead_has_half_standard() -> None:
    made = explanation()
    signal = made.signal.copy()
    signal[1, 3:6] = -7.0
    (kept,) = content(report_html([(replace(made, signal=signal), {})], []))["signals"].values()
    assert kept["gain"] == [10.0, 5.0]  # 1.9 and 8.0 mV on at most 54 mm
    missing = made.valid.copy()
    missing[1, 3:6] = False
    (kept,) = content(report_html([(replace(made, signal=signal, valid=missing), {})], []))["signals"].values()
    assert kept["gain"] == [10.0, 10.0]


def test_verdict_check_and_ranks() -> None:
    made = explanation()
    made.valid[1] = False
    made.meta["verdict"] = {"answer": "yes", "score": 0.75, "rank": 1, "of": 9, "percentile": 98.0, "basis": "x"}
    made.meta["check"] = {"removed": 0.1, "drop": 0.3, "random": 0.05, "random_sd": 0.01, "draws": 16, "passed": True}
    (result,) = content(report_html([(made, {})]))["results"]
    assert result["verdict"]["answer"] == "yes"
    assert result["check"]["passed"] is True
    assert "rank 1 of 9 prompts" in result["outcome"]
    assert [lead["rank"] for lead in result["leads"]] == [1, None]
    (bare,) = content(report_html([(explanation(), {})]))["results"]
    assert (bare["verdict"], bare["check"]) == (None, None)
    assert bare["criteria"] == {"sentence": "", "rows": []}
    row = {
        "name": "lbbb/qrs-duration",
        "text": "QRS at least 120 ms",
        "holds": True,
        "value": 152.0,
        "unit": "ms",
        "density": 2.66,
    }
    made.meta.update({"criteria": [row], "reasons": {"right": True, "sentence": "evidence lies there"}})
    (with_criteria,) = content(report_html([(made, {})]))["results"]
    assert with_criteria["criteria"]["sentence"] == "Evidence lies there"
    (only,) = with_criteria["criteria"]["rows"]
    assert list(only.values()) == ["QRS at least 120 ms", "yes", "152 ms", "2.7 ×", "–", "–"]


def test_the_script_s_computations() -> None:
    """Node's own test runner on logic.test.cjs; the node that playwright brings will do."""
    node = shutil.which("node")
    if node is None:
        with contextlib.suppress(ImportError):
            from playwright._impl._driver import compute_driver_executable

            node = str(compute_driver_executable()[0])
    if node is None:
        assert not os.environ.get("CI"), "CI must not skip: install node or playwright"
        pytest.skip("needs node")
    done = subprocess.run(
        [node, "--test", Path(__file__).with_name("logic.test.cjs")], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_prompts_of_one_recording_share_their_signal() -> None:
    page = content(report_html([(explanation(text), {}) for text in "abc"]))
    assert len(page["signals"]) == 1
    other = replace(explanation("a"), meta=explanation("a").meta | {"record": "another"})
    assert len(content(report_html([(explanation("a"), {}), (other, {})]))["signals"]) == 2


def test_what_is_no_signal_is_marked() -> None:
    valid = np.ones((2, 10), bool)
    valid[0, :3] = valid[1, 5:] = False
    (signal,) = content(report_html([(explanation(valid=valid), {})]))["signals"].values()
    assert signal["invalid"] == [[[0, 3]], [[5, 10]]]


@pytest.mark.parametrize(
    "text",
    [
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "]]>",
        "&lt;",
        "\u2028",
        "%SCRIPT%%DATA%",
        "<img src=x onerror=alert(1)>",
    ],
)
def test_a_prompt_is_data_whatever_it_holds(text: str) -> None:
    page = report_html([(explanation(text), {})])
    assert content(page)["results"][0]["text"] == text
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    data = page.split('id="data">')[1].split("</script>")[0]
    assert not set(data) & set("<>&\u2028\u2029")


def test_half_a_character_does_not_break_the_file() -> None:
    report_html([(explanation("a\ud800"), {})]).encode("utf-8")


def test_the_policy_allows_its_own_style_and_script_and_nothing_else() -> None:
    page = report_html([(explanation(), {})])
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    outside = re.findall(r"https?://[^\"'\s]*", page)
    assert set(outside) == {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_only_evidence_on_its_prompts_is_in_it(tmp_path: Path) -> None:
    row = {
        "text": "atrial fibrillation", "method": "grad-cam", "mask": "zero-mv", "metric": "deletion", "direction": "lower",
        "mean": 0.2, "low": 0.1, "high": 0.3, "chance": None, "n": 4,
    }  # fmt: skip
    lines = [row | {"extra": "left out"}, row | {"text": "another"}]
    (tmp_path / "evidence.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert content(report_html([(explanation(), {})], read_judgements([tmp_path])))["evidence"] == [row]
    (tmp_path / "all.json").write_text(json.dumps(lines))
    assert len(read_judgements([tmp_path / "all.json"])) == 2
    assert read_judgements([tmp_path / "nowhere"]) == []


@pytest.mark.parametrize(
    ("line", "says"), [("{", "not the rows"), ("[]", "row 1: not a row"), ('{"text": 1}', "row 1: not a row")]
)
def test_damaged_evidence_is_refused(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "evidence.jsonl").write_text(line)
    with pytest.raises(EcgcamError, match=says):
        read_judgements([tmp_path])


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    row = dict.fromkeys(("text", "method", "mask", "metric", "direction"), "x") | {"mean": "high"}
    (tmp_path / "evidence.jsonl").write_text(json.dumps(row))
    with pytest.raises(EcgcamError, match="its mean is not a number"):
        read_judgements([tmp_path])
    with pytest.raises(EcgcamError, match="not a finite number"):
        report_html([(replace(explanation(), meta=explanation().meta | {"seed": float("nan")}), {})])


def long_one(text: str, seed: int) -> Any:
    """Twelve leads of ten seconds at 500 Hz, as noisy as a map can be."""
    rng = np.random.default_rng(seed)
    samples = 5000
    return explanation(
        text,
        map=rng.random((12, samples)).astype(np.float32),
        gradient_smoothed=rng.random((12, samples)).astype(np.float32),
        signal=np.random.default_rng(0).normal(size=(12, samples)).astype(np.float32),
        time=np.arange(samples) / 500,
        fs=500.0,
        valid=np.ones((12, samples), bool),
        leads=("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"),
        lead_scores=np.linspace(0, 1, 12).astype(np.float32),
        mask_shift=np.zeros(12, np.float32),
    )


def test_a_recording_and_five_prompts_stay_below_two_megabytes() -> None:
    page = report_html([(long_one(f"prompt {number}", number), {}) for number in range(5)])
    assert 1e6 < len(page.encode()) < 2e6
