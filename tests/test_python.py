"""What Python offers: the same words as the command line, arrays, several recordings, errors, pictures."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ecgcam
from ecgcam.records.simulator import simulate, write
from ecgcam.results.comparison import rank_correlation
from ecgcam.results.explanation import Explanation
from ecgcam.results.sentences import verdict_sentence

QUICK: dict[str, Any] = {"gradient": None}


@pytest.fixture(scope="module")
def model() -> ecgcam.EcgTextModel:
    return ecgcam.load_model("mini")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording")
    write(simulate("af", 11), folder)
    return folder / "af-11.hea"


def test_other_phrases_for_the_same_finding_do_not_compete_in_rank(model: ecgcam.EcgTextModel, recording: Path) -> None:
    (alone,) = ecgcam.explain(recording, "atrial fibrillation", model, **QUICK)
    both = ecgcam.explain(recording, ["atrial fibrillation", "AFib", "心房颤动"], model, **QUICK)
    assert [one.meta["verdict"]["rank"] for one in both] == [1, 1, 1]
    assert {one.meta["verdict"]["of"] for one in both} == {alone.meta["verdict"]["of"]}


def test_a_prompt_is_a_text_or_several(model: ecgcam.EcgTextModel, recording: Path) -> None:
    (one,) = ecgcam.explain(recording, "af", model, **QUICK)
    assert one.meta["text"] == "af"
    (foil,) = ecgcam.explain(recording, ["af"], model, against="mean", **QUICK)
    assert foil.meta["against"] == ["mean"]
    assert [each.meta["text"] for each in ecgcam.explain(recording, ("af", "lbbb"), model, **QUICK)] == ["af", "lbbb"]


def test_a_misspelt_option_is_named(model: ecgcam.EcgTextModel, recording: Path) -> None:
    with pytest.raises(TypeError, match=r"unexpected keyword argument .metod.; did you mean `method`\?"):
        ecgcam.explain(recording, "af", model, metod="layer-cam")  # type: ignore[call-arg]


def test_arrays_with_rate_and_names(model: ecgcam.EcgTextModel) -> None:
    known = simulate("af", 11)
    names = list(known.leads)
    (one,) = ecgcam.explain(known.signal, "af", model, fs=known.fs, lead_names=names, **QUICK)
    (turned,) = ecgcam.explain(known.signal.T, "af", model, fs=known.fs, lead_names=names, **QUICK)
    np.testing.assert_array_equal(one.map, turned.map)
    assert one.meta["fingerprint"] == turned.meta["fingerprint"]
    with pytest.raises(ValueError, match="an array carries neither rate nor lead names; give `fs` and `lead_names`"):
        ecgcam.explain(known.signal, "af", model)


def test_a_bad_recording_does_not_lose_the_good_ones(model: ecgcam.EcgTextModel, recording: Path) -> None:
    records = [recording, "nowhere.dat", recording]
    explanations = ecgcam.explain_many(records, "af", model, **QUICK)
    assert next(explanations).meta["record"] == "af-11"
    with pytest.raises(ecgcam.EcgcamError, match=r"nowhere.dat"):
        next(explanations)
    assert len(list(ecgcam.explain_many(records, "af", model, on_error="skip", **QUICK))) == 2
    failed: list[Any] = []
    kept = list(ecgcam.explain_many(records, "af", model, on_error=lambda *what: failed.append(what), **QUICK))
    assert len(kept) == 2
    assert [source for source, _ in failed] == ["nowhere.dat"]
    with pytest.raises(ecgcam.EcgcamError, match="`on_error` maybe"):
        list(ecgcam.explain_many(records, "af", model, on_error="maybe"))  # type: ignore[arg-type]


def test_many_windows_are_explained_one_after_the_other(model: ecgcam.EcgTextModel) -> None:
    signal = np.tile(simulate("af", 11).signal[6:7], 3)
    given: dict[str, Any] = {"fs": 500, "lead_names": ["V1"], **QUICK}
    starts = [one.time[0] for one in ecgcam.explain(signal, "af", model, all_windows=True, **given)]
    assert starts == [0.0, 10.0, 20.0]
    damaged = signal.copy()
    damaged[:, 5000:10000] = np.nan
    with pytest.raises(ecgcam.EcgcamError, match="no lead has a signal"):
        ecgcam.explain(damaged, "af", model, all_windows=True, **given)


def test_likeness_and_the_best_prompts(model: ecgcam.EcgTextModel, recording: Path) -> None:
    (same,) = ecgcam.explain(recording, model=model, like=recording, **QUICK)
    assert same.score == pytest.approx(1, abs=1e-5)
    assert ecgcam.explain(recording, "af", model, **QUICK)[0].score < 0.9  # the model that was given is as it was
    best = ecgcam.explain(recording, model=model, top=2, **QUICK)
    ranked = list(ecgcam.score(recording, model=model)[0])
    assert [one.meta["text"] for one in best] == ranked[:2]
    assert ranked[0] == "atrial fibrillation"


def test_run_writes_what_the_command_writes(model: ecgcam.EcgTextModel, recording: Path, tmp_path: Path) -> None:
    report = ecgcam.run([recording, tmp_path / "none.dat"], "af", out=tmp_path / "out", model=model, png=False, **QUICK)
    assert [one["record"] for one in report.results] == ["af-11"]
    assert [name for name, _ in report.failures] == ["none"]
    (one,) = ecgcam.explain(recording, "af", model, **QUICK)
    written = Explanation.load(tmp_path / "out/af-11/af")
    assert written.meta["fingerprint"] == one.meta["fingerprint"] == report.results[0]["fingerprint"]
    again = ecgcam.run(recording, "af", out=tmp_path / "out", model=model, png=False, **QUICK)
    assert again.results[0]["fingerprint"] == report.results[0]["fingerprint"]


def test_evaluate_gives_the_rows_of_the_command(recording: Path) -> None:
    rows = ecgcam.evaluate(recording, "af", what="localisation", methods=["grad-cam", "layer-cam"])
    assert {"grad-cam", "layer-cam", "random map"} <= {row["method"] for row in rows}
    turned = ecgcam.evaluate(recording, "af", what="localisation", methods=["layer-cam", "grad-cam"])
    key = lambda row: (row["method"], row["metric"])  # noqa: E731
    assert sorted(rows, key=key) == sorted(turned, key=key)


def test_one_model_in_several_threads(model: ecgcam.EcgTextModel, recording: Path) -> None:
    (alone,) = ecgcam.explain(recording, "af", model)
    wants = [parameter.requires_grad for parameter in model.network.parameters()]
    found: list[Explanation] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(2):
                found.extend(ecgcam.explain(recording, "af", model))
        except BaseException as error:  # noqa: BLE001  (reported by the test)
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(found) == 8
    for one in found:
        assert np.abs(one.map - alone.map).max() <= 1e-5 * alone.map.max()
    assert [parameter.requires_grad for parameter in model.network.parameters()] == wants


def test_an_explanation_shows_itself(model: ecgcam.EcgTextModel, recording: Path) -> None:
    (one,) = ecgcam.explain(recording, "af", model)
    assert repr(one).startswith("<Explanation of 'af-11' for 'af' by grad-cam: score 0.")
    assert len(repr(one)) < 200
    assert one._repr_html_().startswith('<figure><img alt="af-11: af, by grad-cam" src="data:image/png;base64,iVBOR')
    assert one.plot().axes
    assert one.plot_lead("V1").axes
    with pytest.raises(ecgcam.EcgcamError, match="`lead` V9: no such lead"):
        one.plot_lead("V9")
    table = one.to_dataframe()
    assert list(table) == ["lead", "time_s", "signal_mv", "map", "gradient"]
    assert len(table) == one.map.size
    np.testing.assert_array_equal(table[table.lead == "V1"]["map"], one.map[one.leads.index("V1")])


def test_errors_are_value_errors_and_name_parameters(recording: Path) -> None:
    for wrong in ({"smoother": "x"}, {"mask": "x"}, {"method": "x"}, {"start": -1.0}):
        (name,) = wrong
        with pytest.raises(ValueError, match=f"`{name}` "):
            ecgcam.explain(recording, "af", **wrong)  # type: ignore[arg-type]


def test_notes_are_warnings_at_the_callers_line_and_nothing_is_printed(
    model: ecgcam.EcgTextModel, capfd: pytest.CaptureFixture[str]
) -> None:
    known = simulate("af", 11)
    with pytest.warns(ecgcam.EcgcamWarning, match="array: .*too large") as noted:
        ecgcam.explain(known.signal * 1000, "af", model, fs=known.fs, lead_names=list(known.leads), **QUICK)
    assert {note.filename for note in noted} == {__file__}
    with pytest.warns(ecgcam.EcgcamWarning, match="array: .*too large") as noted:
        ecgcam.score(known.signal * 1000, "af", model, fs=known.fs, lead_names=list(known.leads))
    assert {note.filename for note in noted} == {__file__}
    with pytest.warns(ecgcam.EcgcamWarning, match="no `input` is declared, so 500 Hz") as noted:
        ecgcam.own_model(torch.nn.Sequential(torch.nn.Conv1d(12, 4, 5), torch.nn.ReLU(), Mean()), targets=True)
    assert {note.filename for note in noted} == {__file__}
    assert capfd.readouterr() == ("", "")


class Mean(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(-1)


def test_the_command_line_prints_notes_and_warns_of_nothing(recording: Path, tmp_path: Path) -> None:
    """Afterwards notes are warnings again."""
    from ecgcam.cli.app import run

    call = ["score", str(recording), "--seconds", "1"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(call) == 0
    with pytest.warns(ecgcam.EcgcamWarning, match="a note"):
        logging.getLogger("ecgcam").info("%s", "a note")


def test_a_verdict_and_a_check_as_the_command_gives_them(
    model: ecgcam.EcgTextModel, recording: Path, tmp_path: Path
) -> None:
    (one,) = ecgcam.explain(recording, "atrial fibrillation", model, **QUICK)
    report = ecgcam.run(recording, "atrial fibrillation", out=tmp_path, gradient=None, png=False, check=True)
    written = Explanation.load(report.results[0]["out"])
    assert one.meta["verdict"] == written.meta["verdict"]
    assert one.meta["check"] == written.meta["check"]
    assert one.meta["fingerprint"] == written.meta["fingerprint"]
    (many,) = ecgcam.explain_many([recording], "atrial fibrillation", model, **QUICK)
    assert many.meta["verdict"] == one.meta["verdict"]
    assert many.meta["check"] is None
    words = one._repr_html_()
    assert "<strong>yes: atrial fibrillation, rank 1 of 49; leads" in words
    assert "Without the marked" in words
    assert words.count("<tr>") == 13


def test_a_verdict_in_one_sentence() -> None:
    lead = {"name": "II", "gain": 0.2, "rank": 1}
    summary: dict[str, Any] = {"text": "af", "score": 0.25, "leads": [lead, lead | {"name": "V1", "gain": -0.1}]}
    assert verdict_sentence(summary) == "af: score 0.250; leads II"
    summary |= {"verdict": {"answer": "no", "rank": 3, "of": 22}, "check": {"passed": False}}
    assert verdict_sentence(summary) == "no: af, rank 3 of 22; leads II; check failed"
    summary["leads"] = [lead | {"gain": 0.0}, lead | {"rank": None}]
    summary["verdict"]["rank"] = None
    assert verdict_sentence(summary) == "no: af; no lead alone raises the score; check failed"


@pytest.mark.parametrize("method", ["grad-cam", "integrated-gradients", "lead-occlusion"])
def test_maps_as_tensors_are_those_of_explain(model: ecgcam.EcgTextModel, method: str) -> None:
    """Of two recordings, one with four leads: the model's rows, zero and NaN where it has no lead."""
    known = simulate("af", 11)
    names = list(known.leads)
    four = [names.index(lead) for lead in ("V1", "V2", "V5", "V6")]
    options: dict[str, Any] = {"method": method, **({"options": {"steps": 4}} if "integrated" in method else {})}
    records = [
        ecgcam.Record.from_array(known.signal, known.fs, names),
        ecgcam.Record.from_array(known.signal[four], known.fs, [names[row] for row in four]),
    ]
    found = ecgcam.map_tensors(records, ["af", "normal ECG"], model, **options)
    assert found.maps.shape == (2, 2, 12, model.input.samples)
    assert found.maps.device == model.device
    assert not found.maps.requires_grad
    for n, record in enumerate(records):
        for p, one in enumerate(ecgcam.explain(record, ["af", "normal ECG"], model, check=False, **options, **QUICK)):
            rows = [found.leads.index(lead) for lead in one.leads]
            np.testing.assert_allclose(found.maps[n, p, rows], one.map, atol=1e-6 * np.abs(one.map).max())
            np.testing.assert_allclose(found.cells[n, p, rows], one.map_cells, atol=1e-6)
            np.testing.assert_allclose(found.lead_scores[n, p, rows], one.lead_scores, atol=1e-5)
            assert float(found.scores[n, p]) == pytest.approx(one.score, abs=1e-5)
            assert float(found.empty_scores[n, p]) == pytest.approx(one.empty_score, abs=1e-5)
            assert np.array_equal(found.valid[n][rows], one.valid)
    absent = [row for row in range(12) if row not in rows]
    assert not found.maps[1][:, absent].any()
    assert torch.isnan(found.lead_scores[1][:, absent]).all()
    assert found.texts == ("af", "normal ECG")
    with pytest.raises(ecgcam.EcgcamError, match="`all_windows`"):
        ecgcam.map_tensors(records, "af", model, all_windows=True)


def test_comparison_is_spearmans_correlation(model: ecgcam.EcgTextModel, recording: Path) -> None:
    from scipy.stats import spearmanr

    a, b = (
        ecgcam.explain(recording, "af", model, method=name, check=False, **QUICK)[0]
        for name in ("grad-cam", "layer-cam")
    )
    found = ecgcam.compare(a, b)
    assert found.maps == pytest.approx(spearmanr(a.map.ravel(), b.map.ravel()).statistic, abs=1e-6)
    for row, lead in enumerate(a.leads):
        assert found.leads[lead] == pytest.approx(spearmanr(a.map[row], b.map[row]).statistic, abs=1e-6)
    assert found.gains == pytest.approx(1.0)
    assert repr(found).startswith("<grad-cam and layer-cam on 'af-11': rank correlation of maps ")
    assert ecgcam.compare(a, a).maps == pytest.approx(1.0)
    assert len(found.plot().axes) > len(a.plot().axes)
    assert '<img alt="' in found._repr_html_()
    assert list(found.to_dataframe()) == ["lead", "map_correlation", "gain_a", "gain_b"]
    (other,) = ecgcam.explain(recording, "af", model, check=False, seconds=5, start=2, **QUICK)
    with pytest.raises(ecgcam.EcgcamError, match="explain the same window"):
        ecgcam.compare(a, other)
    (v1,) = ecgcam.explain(simulate("af", 11).signal[6], "af", model, fs=500, lead_names=["V1"], check=False, **QUICK)
    with pytest.raises(ecgcam.EcgcamError, match="`b`: has the leads V1"):
        ecgcam.compare(a, v1)


def test_rank_correlation_by_hand() -> None:
    """Ranks less their mean: -1.5, 0, 0, 1.5 and -0.5, -1.5, 0.5, 1.5; their product is 3, their squares 4.5 and 5."""
    assert rank_correlation(np.array([0.0, 1, 1, 3]), np.array([5.0, 4, 6, 9])) == pytest.approx(3.0 / np.sqrt(4.5 * 5))
    assert np.isnan(rank_correlation(np.zeros(3), np.arange(3.0)))
    assert np.isnan(rank_correlation(np.zeros(1), np.zeros(1)))


def test_means_by_class_take_arrays_of_one_name_apart(model: ecgcam.EcgTextModel) -> None:
    labels = ["af", "af", "normal"]
    signals = [simulate(finding, seed).signal for seed, finding in enumerate(labels)]
    some = list(ecgcam.explain_many(signals, "af", model, fs=500, lead_names="standard", **QUICK))
    first, second = ecgcam.summarize(some, by=labels).groups
    assert (first.group.label, second.group.label) == ("af", "normal")
    assert len(first.group.records) == 2
    assert first.gain.mean[-1] == pytest.approx(np.mean([one.score - one.empty_score for one in some[:2]]), abs=1e-6)


def test_a_report_of_explanations_and_of_folders(model: ecgcam.EcgTextModel, recording: Path, tmp_path: Path) -> None:
    (one,) = ecgcam.explain(recording, "af", model, **QUICK)
    page = ecgcam.report(one, tmp_path / "one.html")
    assert "af-11" in page.read_text(encoding="utf-8")
    one.save(tmp_path / "results" / "af-11" / "af")
    (tmp_path / "results" / "bad").mkdir()
    (tmp_path / "results" / "bad" / "explanation.npz").write_bytes(b"x")
    with pytest.raises(ecgcam.EcgcamError, match=r"bad/explanation\.npz"):
        ecgcam.report(tmp_path / "results")
    failed: list[Path] = []
    page = ecgcam.report(tmp_path / "results", on_error=lambda file, _: failed.append(file))
    assert (page, [file.parent.name for file in failed]) == (tmp_path / "results" / "report.html", ["bad"])
    with pytest.warns(ecgcam.EcgcamWarning, match="1 result is left out of the report"):
        ecgcam.report([one, one], tmp_path / "two.html", most=1)
    with pytest.raises(ecgcam.EcgcamError, match="`scale` x"):
        ecgcam.report(one, scale="x")


@pytest.mark.parametrize(
    ("rows", "fs", "leads", "says"),
    [
        ((5000, 2), 500.0, ("I", "II"), r"`signal`: has the shape \(5000, 2\) for 2 leads"),
        ((2, 50), 0.0, ("I", "II"), "`fs` 0: not possible"),
        ((2, 50), 500.0, ("I", "ii"), "`leads` ii: not one of I, II"),
        ((50,), 500.0, ("I",), "`signal`: has the shape"),
    ],
)
def test_a_record_that_cannot_be_is_refused(
    rows: tuple[int, ...], fs: float, leads: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ecgcam.EcgcamError, match=says):
        ecgcam.Record("x", np.zeros(rows, np.float32), fs, leads)


@pytest.mark.parametrize("call", [ecgcam.run, ecgcam.evaluate, ecgcam.score, ecgcam.map_tensors, ecgcam.explain])
def test_every_function_names_a_misspelt_keyword(call: Any) -> None:
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'lead_name'; did you mean `lead_names`\?"):
        call("x.dat", "af", lead_name="I")


def test_submodules_are_reachable_after_import_ecgcam_alone() -> None:
    code = """
import ecgcam, sys
assert "torch" not in sys.modules
for path in ("models.checkpoint.read_state", "models.own.own_model", "results.timeline.Timeline.load", "render.page",
             "evidence.reasons.weigh_reasons", "render.colour.colours", "records.simulator.simulate"):
    value = ecgcam
    for name in path.split("."):
        value = getattr(value, name)
    assert callable(value), path
try:
    ecgcam.models.nothing
except AttributeError as error:
    assert str(error) == "module 'ecgcam.models' has no attribute 'nothing'"
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)
