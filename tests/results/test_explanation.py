"""The result of an explanation: figures by hand, and the file with exactly the design's keys."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.handmade import explanation

from ecgcam.errors import EcgcamError
from ecgcam.results.explanation import RUN_KEYS, Explanation, slug_of

KEYS = {
    "map": ("f4", (2, 10)), "map_cells": ("f4", (2, 3)), "cell_time": ("f8", (3,)), "gradient": ("f4", (2, 10)),
    "gradient_smoothed": ("f4", (2, 10)), "signal": ("f4", (2, 10)), "time": ("f8", (10,)), "fs": ("f8", ()),
    "valid": ("b1", (2, 10)), "leads": ("U", (2,)), "score": ("f8", ()), "empty_score": ("f8", ()),
    "lead_scores": ("f4", (2,)), "mask_shift": ("f4", (2,)), "meta": ("U", ()),
}  # fmt: skip


def test_gain_and_ranking() -> None:
    made = explanation()
    np.testing.assert_allclose(made.gains, [0.5, -0.25])
    assert made.ranking == [0, 1]
    assert explanation(lead_scores=np.array([0.0, 0.75], np.float32)).ranking == [1, 0]
    assert explanation(lead_scores=np.array([0.5, 0.5], np.float32)).ranking == [0, 1]  # canonical order among equals
    # A larger map does not rank a lead: where is not how much.
    assert explanation(map=np.stack([np.zeros(10), np.full(10, 9)]).astype(np.float32)).ranking == [0, 1]


def test_evidence_is_unit_mass_times_positive_gain() -> None:
    """Lead I: the map's integral is 20 x 0.1 s = 2, its gain 0.5, so 4 becomes 4 / 2 x 0.5 = 1 a second. V1 has none to show."""
    made = explanation()
    kept = made.map.copy()
    scaled = made.scaled_map("evidence")
    np.testing.assert_allclose(scaled[0], [0, 0.25, 1, 0.25, 0, 1.5, 1.5, 0.5, 0, 0])
    np.testing.assert_array_equal(scaled[1], 0)
    assert scaled[0].sum() / 10 == pytest.approx(0.5)
    np.testing.assert_array_equal(made.map, kept)


def test_other_scales() -> None:
    made = explanation(map=explanation().map * np.array([[1], [-1]], np.float32))
    np.testing.assert_allclose(made.scaled_map("lead")[0], np.array([0, 1, 4, 1, 0, 6, 6, 2, 0, 0]) / 6)
    np.testing.assert_allclose(made.scaled_map("lead")[1], [0] * 8 + [-1, 0])
    np.testing.assert_array_equal(made.scaled_map("raw"), made.map)
    empty = explanation(map=np.zeros((2, 10), np.float32))
    for scale in ("evidence", "lead", "raw"):
        np.testing.assert_array_equal(empty.scaled_map(scale), 0)
    with pytest.raises(EcgcamError, match="`scale` loud: no such scale; choose from evidence, lead, raw"):
        made.scaled_map("loud")


def test_moments_are_separate_local_maxima() -> None:
    made = explanation()
    # 6 at 3.5 and 3.6 s is one moment (its middle, the earlier of two); 4 at 3.2 s is the next.
    assert made.moments(0) == pytest.approx([3.5, 3.2])
    assert made.moments(1) == pytest.approx([3.8])
    assert made.moments(0, count=1) == pytest.approx([3.5])
    assert made.moments(0, apart=0.5) == pytest.approx([3.5])
    assert made.moments(0, apart=0.3) == pytest.approx([3.5, 3.2])  # 3.5 - 3.2 is a little more or less than 0.3
    values = np.array([[5, 0, 3, 0, 4, 0, 2, 0, 0, 1], np.zeros(10)], np.float32)
    assert explanation(map=values).moments(0) == pytest.approx([3.0, 3.4, 3.2])
    assert explanation(map=values).moments(1) == []
    assert explanation(map=np.ones((2, 10), np.float32)).moments(0) == []  # the same all along: no moment
    assert explanation(map=-values).moments(0) == pytest.approx([3.0, 3.4, 3.2])  # of a signed map, by magnitude


def test_the_summary_has_the_designs_keys() -> None:
    summary = explanation().summary()
    first = ["record", "text", "slug", "score", "empty_score", "leads", "settings", "warnings", "prompt_warnings"]
    assert list(summary) == [*first, *RUN_KEYS]
    assert summary["leads"] == [
        {"name": "I", "rank": 1, "score": 0.75, "gain": 0.5, "moments_s": [3.5, 3.2]},
        {"name": "V1", "rank": 2, "score": 0.0, "gain": -0.25, "moments_s": [3.8]},
    ]
    assert (summary["record"], summary["slug"], summary["warnings"]) == ("rec", "atrial-fibrillation", ["a warning"])
    assert summary["settings"]["method"] == "grad-cam"
    assert not {"record", "text", "warnings", "format"} & set(summary["settings"])
    json.dumps(summary, allow_nan=False)


def test_the_file_has_exactly_the_designs_keys(tmp_path: Path) -> None:
    made = explanation(text="Vorhofflimmern – «心房颤动»")
    path = made.save(tmp_path / "new" / "folder")
    assert sorted(p.name for p in path.parent.iterdir()) == ["explanation.npz", "summary.json"]
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive.files) == set(KEYS)
        for key, (dtype, shape) in KEYS.items():
            array = archive[key]
            assert array.shape == shape, key
            assert array.dtype.kind == "U" if dtype == "U" else array.dtype == np.dtype(dtype), key
            assert array.dtype.kind != "f" or np.isfinite(array).all(), key
        assert json.loads(str(archive["meta"])) == made.meta
    assert json.loads((path.parent / "summary.json").read_text(encoding="utf-8")) == made.summary()
    for where in (path, path.parent):
        got = Explanation.load(where)
        for key in KEYS:
            np.testing.assert_array_equal(getattr(got, key), getattr(made, key), err_msg=key)
        assert (got.leads, got.fs, got.score, got.meta) == (made.leads, made.fs, made.score, made.meta)


def test_the_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (explanation().save(tmp_path / name).read_bytes() for name in "ab")
    assert first == second


def test_no_gradient_and_no_cells_keep_their_keys(tmp_path: Path) -> None:
    none = np.zeros((2, 0), np.float32)
    made = explanation(gradient=none, gradient_smoothed=none, map_cells=none, cell_time=np.zeros(0))
    got = Explanation.load(made.save(tmp_path))
    assert got.gradient.shape == got.gradient_smoothed.shape == got.map_cells.shape == (2, 0)
    assert got.cell_time.shape == (0,)


@pytest.mark.parametrize(
    ("field", "value"),
    [("score", float("nan")), ("empty_score", float("inf")), ("map", np.full((2, 10), np.nan, np.float32))],
)
def test_what_is_not_finite_is_never_written(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(EcgcamError, match=f"rec: the model gave a {field} that is not a finite number"):
        explanation(**{field: value}).save(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_is_no_explanation_is_refused(tmp_path: Path) -> None:
    path = explanation().save(tmp_path)
    with np.load(path) as archive:
        arrays = dict(archive)
    meta = explanation().meta
    whole = path.read_bytes()

    def said() -> str:
        with pytest.raises(EcgcamError) as error:
            Explanation.load(path)
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)
        return str(error.value)

    np.savez(path, **{key: value for key, value in arrays.items() if key not in {"map", "valid"}})
    assert "(no map, valid)" in said()
    np.savez(path, **(arrays | {"meta": np.asarray(json.dumps(meta | {"format": "ecgcam-explanation/9"}))}))
    assert "written in the format 'ecgcam-explanation/9'; this version reads 'ecgcam-explanation/1'" in said()
    for broken in ("[1]", "{"):
        np.savez(path, **(arrays | {"meta": np.asarray(broken)}))
        assert "written in the format None" in said() or "its meta is not JSON" in said()
    for value in (1e142, np.inf, np.nan):  # a wider number than the scores of leads, which it is taken from
        np.savez(path, **(arrays | {"empty_score": np.float64(value)}))
        assert "damaged (empty_score is " in said()
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:60] + b"\0" * 40 + whole[100:]):
        path.write_bytes(content)
        assert "not an explanation of ecgcam" in said()
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    assert "a single array" in said()
    path.unlink()
    assert "no such file; ecgcam explain writes it" in said()


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("atrial fibrillation", "atrial-fibrillation"),
        ("  LBBB (complete), 120 ms! ", "lbbb-complete-120-ms"),
        ("ＡＦ", "af"),  # full-width letters are the same letters
        ("心房颤动", "心房颤动"),
        ("Flimmern über 350/min", "flimmern-über-350-min"),
        ("a/../b", "a-b"),
        ("a" * 60, "a" * 60),
        # The digits are those of `printf %s PROMPT | sha256sum`.
        ("a" * 61, "a" * 51 + "-35d5fc17"),
        ("..", "-5ec1f7e7"),
        ("!!!", "-e84c538e"),
    ],
)
def test_slugs(text: str, slug: str) -> None:
    assert slug_of(text) == slug
    assert len(slug) <= 60


def test_slugs_that_must_be_told_apart() -> None:
    one, two = (slug_of(text, distinct=True) for text in ("A.F.", "a f"))
    assert one != two
    assert one[:-8] == two[:-8] == "a-f-"
    cut = slug_of("wort " * 20)
    assert len(cut) <= 60
    assert cut.startswith("wort-wort-")
    assert "--" not in cut
