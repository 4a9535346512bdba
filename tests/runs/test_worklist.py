"""From what a user names to recordings, and where their results go."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.records.by_hand import wfdb

from ecgcam.errors import EcgcamError
from ecgcam.protocol.spec import InputSpec
from ecgcam.results.explanation import slug_of
from ecgcam.runs.reading import Reading
from ecgcam.runs.worklist import Item, content_sha256, find_recordings, slugs


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_files_with_many_recordings_in_a_folder_are_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    np.savez(tmp_path / "sub/many.npz", ecg=np.zeros((2, 1, 50)), fs=250.0, leads=["V1"])
    np.save(tmp_path / "one.npy", np.zeros((1, 50)))
    items = find_recordings([str(tmp_path)])
    assert [item.name for item in items] == ["one", "sub/many-0", "sub/many-1"]
    assert [item.path.name for item in items] == ["one.npy", "many.npz#0", "many.npz#1"]


def test_files_and_stems_keep_their_own_name() -> None:
    items = find_recordings(["a/one.dat", "b/two.hea", "three", "four.v2", "x/five.NPY"])
    assert [item.name for item in items] == ["one", "two", "three", "four.v2", "five"]
    assert items[0] == Item(Path("a/one.dat"), "one")


def test_a_folder_keeps_relative_paths_and_skips_what_is_no_recording(tmp_path: Path) -> None:
    touch(
        tmp_path, "a.hea", "a.dat", "sub/a.hea", "sub/a.mat", "sub/deep/b.npy", "alone.mat", "orphan.dat", "notes.txt",
        "af-7.hea", "af-7-twin.hea", "af-7-truth.npz", "out/a/af/explanation.npz", ".cache/hidden.npy", "sub/._a.hea",
    )  # fmt: skip
    items = find_recordings([str(tmp_path)])
    assert [item.name for item in items] == ["a", "af-7", "af-7-twin", "alone", "sub/a", "sub/deep/b"]
    assert [str(item.path.relative_to(tmp_path)) for item in items] == [
        "a.hea", "af-7.hea", "af-7-twin.hea", "alone.mat", "sub/a.hea", "sub/deep/b.npy",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "listed"),
    [
        (b'<?xml version="1.0"?><AnnotatedECG xmlns="urn:hl7-org:v3">', True),
        ('<?xml version="1.0" encoding="utf-16"?><restingecgdata/>'.encode("utf-16"), True),
        (b"<RestingECG/>", True),  # a known maker's, refused by its name
        (b"<!-- " + b"x" * 9000 + b" --><p:AnnotatedECG xmlns:p='urn:hl7-org:v3'/>", True),
        (b"", True),  # a recording that was cut off
        (b"not XML", True),
        (b"<project><target/></project>", False),
        (b'<?xml version="1.0"?><!DOCTYPE html><html>&nbsp;</html>', False),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", False),
        (b"<ecg:AnnotatedECG/>", True),  # damaged: a prefix of no namespace
    ],
)
def test_xml_of_another_kind_in_a_folder_is_no_recording(tmp_path: Path, content: bytes, listed: bool) -> None:
    (tmp_path / "a.XML").write_bytes(content)
    touch(tmp_path, "b.npy")
    items = find_recordings([str(tmp_path)])
    assert [item.name for item in items] == (["a", "b"] if listed else ["b"])
    assert [item.name for item in find_recordings([str(tmp_path / "a.XML")])] == ["a"]  # named, it is refused when read


def test_recordings_of_one_name_have_the_full_file_name_but_for_the_first(tmp_path: Path) -> None:
    touch(tmp_path, "a.hea", "a.npy", "sub/b.edf", "sub/b.npy")
    assert [item.name for item in find_recordings([str(tmp_path)])] == ["a", "a.npy", "sub/b", "sub/b.npy"]
    assert [item.name for item in find_recordings(["x/rec.dat", "rec.npy"])] == ["rec", "rec.npy"]


def test_a_recording_that_is_named_twice_is_one(tmp_path: Path) -> None:
    """As the shell does with `data/*`."""
    touch(tmp_path, "a.hea", "a.dat", "b.npy")
    names = [str(path) for path in sorted(tmp_path.iterdir())]
    assert [item.name for item in find_recordings(names)] == ["a", "b"]
    assert [item.name for item in find_recordings(["a.dat", "a", "-"], ["a.hea\n", "b.npy\n", "b.npy\n"])] == ["a", "b"]


def test_a_path_that_is_written_in_two_ways_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "d/a.npy")
    monkeypatch.chdir(tmp_path)
    assert len(find_recordings(["d/a.npy", f"{tmp_path}/d/a.npy", "d/../d/a.npy"])) == 1


def test_mean_beats_of_summarize_are_no_recording(tmp_path: Path) -> None:
    np.savez(tmp_path / "beats.npz", signal=np.ones((2, 500)))
    np.save(tmp_path / "a.npy", np.ones((2, 500)))
    assert [item.name for item in find_recordings([str(tmp_path)])] == ["a", "beats"]
    (tmp_path / "leads.csv").touch()
    (tmp_path / "waves.csv").touch()
    assert [item.name for item in find_recordings([str(tmp_path)])] == ["a"]


def test_a_list_that_begins_with_a_byte_order_mark() -> None:
    assert [item.name for item in find_recordings(["-"], ["\ufeffa.npy\r\n", "\r\n", "b.npy\r\n"])] == ["a", "b"]


def test_what_identifies_a_recording_is_its_content(tmp_path: Path) -> None:
    by_hand = {"I": [1, 2, 3, 4]}
    for folder in ("x", "y", "z"):
        (tmp_path / folder).mkdir()
        wfdb(tmp_path / folder, list(by_hand.values()), list(by_hand))
    x, y, z = (next((tmp_path / folder).glob("*.hea")) for folder in "xyz")
    samples = next((tmp_path / "z").glob("*.dat"))
    samples.write_bytes(samples.read_bytes()[:-1] + b"\x07")
    assert (
        content_sha256(x)
        == content_sha256(y)
        == content_sha256(x.with_suffix(".dat"))
        == content_sha256(x.with_suffix(""))
    )
    assert content_sha256(z) != content_sha256(x)  # its samples differ, its header does not
    np.save(tmp_path / "a.npy", np.arange(3))
    assert (
        content_sha256(tmp_path / "a.npy")
        == hashlib.sha256(hashlib.sha256((tmp_path / "a.npy").read_bytes()).hexdigest().encode()).hexdigest()
    )
    (tmp_path / "many.hea").write_text(f"many/2 1 250 8\nx/{x.stem} 4\n~ 4\n")
    before = content_sha256(tmp_path / "many.hea")
    next((tmp_path / "x").glob("*.dat")).write_bytes(b"changed!")
    assert content_sha256(tmp_path / "many.hea") != before


def test_the_content_of_a_damaged_header_s_recording_is_found_without_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.hea").write_bytes(b"a/3 x\n. 3\na 3\n\x00\xff 4\n")
    assert len(content_sha256(tmp_path / "a.hea")) == 64


def test_a_list_on_stdin(tmp_path: Path) -> None:
    touch(tmp_path, "folder/b.npy")
    lines = ["x/a.dat\n", "\n", f"  {tmp_path / 'folder'}  \n", "c\r\n"]
    assert [item.name for item in find_recordings(["-", "d"], lines)] == ["a", "b", "c", "d"]

    def broken() -> Iterator[str]:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
        yield ""

    with pytest.raises(EcgcamError, match="is not UTF-8 text"):
        find_recordings(["-"], broken())


@pytest.mark.parametrize(
    ("inputs", "stdin", "says"),
    [
        ([], [], "no recording named"),
        (["-"], ["\n"], "no recording named"),
        (["-"], None, "no recording named"),  # standard input is closed
        ([""], [], "a blank name"),
        (["a.dat", " "], [], "a blank name"),
        (["a/rec.dat", "b/rec.hea", "c/rec.hea"], [], "c/rec.hea: its results would share the folder 'rec.hea' with those of b/"),
        (["a/rec.npy", "b/rec.npy", "c/rec.npy"], [], "c/rec.npy: its results would share the folder 'rec.npy' with those of b/"),
        (["caf\udce9.dat"], [], "its name is not UTF-8"),
    ],
)  # fmt: skip
def test_lists_that_are_refused(inputs: list[str], stdin: list[str] | None, says: str) -> None:
    with pytest.raises(EcgcamError) as error:
        find_recordings(inputs, stdin)
    assert says in str(error.value)


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "orphan.dat", "a.txt", "x/explanation.npz")
    with pytest.raises(EcgcamError, match="holds no recording"):
        find_recordings([str(tmp_path)])


def test_prompts_that_would_share_a_folder_are_told_apart() -> None:
    got = slugs(["A.F.", "a f", "LBBB"])
    assert got["LBBB"] == "lbbb"
    assert got["A.F."][:4] == got["a f"][:4] == "a-f-"
    assert len(set(got.values())) == 3
    assert [len(slug) for slug in got.values()] == [12, 12, 4]


def test_a_prompt_that_reads_like_another_s_folder_has_one_of_its_own() -> None:
    other = slug_of("AF", distinct=True)
    made = slugs(["AF", "af", other])
    assert made["AF"] == other
    assert made[other].startswith(f"{other}-")
    assert len(set(made.values())) == 3


def test_names_that_differ_by_a_form_of_a_letter_alone_are_one_to_some_file_systems() -> None:
    made = slugs(["παλμός", "παλμόσ"])
    assert len({slug.casefold() for slug in made.values()}) == 2


@pytest.mark.parametrize(
    ("reading", "says"),
    [
        (Reading(fs=0), "`fs` 0: not possible for an ECG"),
        (Reading(start=-1), "`start` -1"),
        (Reading(start=float("nan")), "`start` nan"),
        (Reading(seconds=0), "`seconds` 0: must be a positive number"),
        (Reading(all_windows=True, hop=-2), "`hop` -2: must be a positive number"),
        (Reading(hop=2), "`hop` 2: is the step of `all_windows`, which is not given; add `all_windows`"),
    ],
)
def test_flags_that_are_wrong_whatever_the_recording(reading: Reading, says: str) -> None:
    with pytest.raises(EcgcamError) as error:
        reading.check_values()
    assert says in str(error.value)
    Reading(500, ("I",), 1.0, 2.0, True, 3.0).check_values()


def test_records_are_read_under_the_name_of_their_results(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.sin(np.arange(6000) / 20)[None])
    reading = Reading(fs=250, lead_names=("V1",), all_windows=True, hop=5.0, start=2.0)
    item = Item(tmp_path / "a.npy", "sub/a")
    spec = InputSpec(fs=250, seconds=10)
    record = reading.record(item, spec)
    assert record.name == "sub/a"
    assert reading.starts(record, spec) == [2.0, 7.0, 12.0, 14.0]
    assert reading.window(record, spec, 7.0).start == 7.0
    reading.check(item, spec)
    with pytest.raises(EcgcamError, match="sub/a: `start` 99 lies outside the recording, which lasts 24 s"):
        Reading(fs=250, lead_names=("V1",), start=99).check(item, spec)
    with pytest.raises(EcgcamError, match="no lead is common; choose another recording"):
        reading.check(item, InputSpec(fs=250, seconds=10, leads=("I", "II")))
