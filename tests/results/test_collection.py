"""Results found and read again: what is skipped, what is refused, and where redrawn pictures go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.handmade import explanation

from ecgcam.errors import EcgcamError
from ecgcam.results.collection import Result, find_results, result_dir_of
from ecgcam.runs.writer import Outputs, write_result


def written(folder: Path, **changes: Any) -> Path:
    write_result(explanation(**changes), folder, Outputs(png=False))
    return folder / "explanation.npz"


def test_folders_are_searched_in_order_each_result_once_and_unfinished_ones_passed_over(tmp_path: Path) -> None:
    second = written(tmp_path / "out/b/normal")
    first = written(tmp_path / "out/a/normal")
    written(tmp_path / "out/.a-1234/normal")
    (tmp_path / "out/notes.txt").touch()
    assert [result.file for result in find_results([tmp_path / "out", second, first.parent])] == [first, second]


def test_a_summary_is_read_and_its_absence_is_no_error(tmp_path: Path) -> None:
    file = written(tmp_path / "a")
    assert Result(file).summary()["score"] == 0.75
    (tmp_path / "a/summary.json").unlink()
    assert Result(file).summary() == {}
    (tmp_path / "a/summary.json").write_text("{")
    with pytest.raises(EcgcamError, match=r"summary\.json: cannot be read as JSON"):
        Result(file).summary()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"map": np.zeros((2, 9), np.float32)}, r"map is \(2, 9\), with 2 leads and 10 samples"),
        ({"lead_scores": np.zeros(3, np.float32)}, r"lead_scores is \(3,\)"),
        ({"signal": np.full((2, 10), "x")}, "signal is <U1"),
        ({"gradient_smoothed": np.zeros((1, 10), np.float32)}, "gradient_smoothed is of another shape"),
        ({"fs": 0.0}, "fs is 0"),
        ({"map": np.full((2, 10), np.nan, np.float32)}, "not finite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    good = explanation()
    path = tmp_path / "explanation.npz"
    np.savez(path, allow_pickle=False, **(good._arrays() | {key: np.asarray(value) for key, value in change.items()}))
    with pytest.raises(EcgcamError, match=says):
        Result(path).load()


def test_a_meta_without_its_settings_is_refused(tmp_path: Path) -> None:
    good = explanation()
    lacking = replace(good, meta={key: value for key, value in good.meta.items() if key != "method"})
    path = tmp_path / "explanation.npz"
    np.savez(path, allow_pickle=False, **lacking._arrays())
    with pytest.raises(EcgcamError, match="no method"):
        Result(path).load()


@pytest.mark.parametrize("name", ["../elsewhere", "/etc/x", "a/../../b", ""])
def test_a_recording_s_name_leads_nowhere_else(name: str) -> None:
    good = explanation()
    with pytest.raises(EcgcamError, match="leads out of"):
        result_dir_of(replace(good, meta=good.meta | {"record": name}), Path("out"))


def test_places_are_those_of_explain() -> None:
    assert result_dir_of(explanation(), Path("out")) == Path("out/rec/atrial-fibrillation")
    assert result_dir_of(explanation(), Path("out"), several_windows=True) == Path(
        "out/rec/atrial-fibrillation/w00003.000"
    )
