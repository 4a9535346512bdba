"""Results in tar files: plain, whole up to any cut, and read like folders."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.handmade import explanation

from ecgcam.errors import EcgcamError
from ecgcam.files import is_file, open_file, pack_members
from ecgcam.results.explanation import Explanation
from ecgcam.runs.packs import Packs, index_packs
from ecgcam.runs.writer import Outputs, encode_result, write_result


def files(content: bytes) -> dict[str, bytes]:
    return {"summary.json": b"{}", "page.png": content}


def test_so_many_results_in_each(tmp_path: Path) -> None:
    packs = Packs(tmp_path, 2)
    for name in ("a/af", "sub/b/af", "房/颤"):
        place = packs.next_place()
        packs.add(name, files(name.encode()))
        assert open_file(place / name / "page.png").read() == name.encode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pack-00000.tar", "pack-00001.tar"]
    first = list(pack_members(tmp_path / "pack-00000.tar"))
    assert first == ["a/af/page.png", "a/af/summary.json", "sub/b/af/page.png", "sub/b/af/summary.json"]
    (tmp_path / "x").mkdir()
    subprocess.run(
        ["tar", "-xf", tmp_path / "pack-00001.tar", "-C", tmp_path / "x"], check=True
    )  # as docs/results.md says
    assert (tmp_path / "x/房/颤/page.png").read_bytes() == "房/颤".encode()
    assert not is_file(tmp_path / "pack-00000.tar/a/af/other.png")
    Packs(tmp_path, 2, (1, 8)).add("c/af", files(b""))
    assert (tmp_path / "pack-1-of-8-00000.tar").is_file()


def test_an_explanation_is_read_from_a_pack_as_from_a_folder(tmp_path: Path) -> None:
    given = explanation()
    summary, encoded = encode_result(given, Path("rec/af"), Outputs(png=False))
    assert summary["out"] == "rec/af"
    assert set(encoded) == {"explanation.npz", "summary.json"}
    Packs(tmp_path, 5).add("rec/af", encoded)
    write_result(given, tmp_path / "rec/af", Outputs(png=False), place=Path("rec/af"))
    assert encoded["summary.json"] == (tmp_path / "rec/af/summary.json").read_bytes()
    for inside in ("rec/af", "rec/af/explanation.npz"):
        packed, plain = Explanation.load(tmp_path / "pack-00000.tar" / inside), Explanation.load(tmp_path / inside)
        np.testing.assert_array_equal(packed.map, plain.map)
        assert packed.meta == plain.meta
    with pytest.raises(EcgcamError, match="no such file; ecgcam explain writes it"):
        Explanation.load(tmp_path / "pack-00000.tar/rec/lbbb")


@pytest.mark.parametrize("size", [1, 2, 10])
@pytest.mark.parametrize("cut", [0, 1, 700, 5000])
def test_it_goes_on_behind_the_last_whole_result_wherever_it_was_cut(tmp_path: Path, size: int, cut: int) -> None:
    """What a crash cut off is removed; every whole result stays, whoever made it."""
    names = ["a/af", "b/af", "c/af/w00000.000", "c/af/w00010.000", "d/af"]
    packs = Packs(tmp_path, size)
    for name in names:
        packs.add(name, files(name.encode() * 300))
    packs.close()
    last = max(tmp_path.iterdir())
    last.write_bytes(last.read_bytes()[: len(last.read_bytes()) - cut] if cut else last.read_bytes())
    kept = {name: content(tmp_path, name) for name in names if is_whole(tmp_path, name)}
    assert (len(kept) == len(names)) == (cut < 512)  # less cuts the last block's filling alone
    packs = Packs(tmp_path, size)
    packs.open_for_append()
    packs.add("e/af", files(b"new"))
    for name, before in kept.items():
        assert content(tmp_path, name) == before
    assert content(tmp_path, "e/af") == b"new"
    for pack in tmp_path.glob("*.tar"):
        members = list(pack_members(pack))
        assert len(members) == len(set(members)) <= 2 * size


def content(out: Path, name: str) -> bytes:
    (pack,) = (pack for pack in out.glob("*.tar") if is_file(pack / name / "summary.json"))
    return open_file(pack / name / "page.png").read()


def is_whole(out: Path, name: str) -> bool:
    return any(is_file(pack / name / "summary.json") for pack in out.glob("*.tar"))


def test_what_packs_hold_is_found_by_its_question(tmp_path: Path) -> None:
    """Also where the journal is lost: a call that goes on deletes nothing of it."""
    packs = Packs(tmp_path, 2)
    for name, fingerprint in (("a/af", "1"), ("b/af/w00000.000", "2"), ("b/af/w00010.000", "2"), ("sub/c/af", "3")):
        summary = {"fingerprint": fingerprint, "spec": {"prompt": {"text": "af"}}, "recording_sha256": name[0]}
        packs.add(name, {"summary.json": json.dumps(summary).encode()})
    packs.add("d/af", {"summary.json": b"{"})
    index = index_packs(tmp_path)
    assert {name: one.fingerprint for name, one in index.items()} == {"a/af": "1", "b/af": "2", "sub/c/af": "3"}
    assert index["b/af"].path == Path("pack-00000.tar/b/af")
    assert index["b/af"].summary is None  # of several windows
    assert index["a/af"].spec is index["sub/c/af"].spec  # one object, however many results
    assert index_packs(tmp_path / "nowhere") == {}


def test_what_is_no_pack_is_named(tmp_path: Path) -> None:
    (tmp_path / "pack-00000.tar").write_bytes(b"hello" * 500)
    with pytest.raises(EcgcamError, match=r"pack-00000.tar: not a pack of results"):
        Explanation.load(tmp_path / "pack-00000.tar/rec/af")
    (tmp_path / "pack-00001.tar").mkdir()
    packs = Packs(tmp_path, 1)
    packs._number = 1
    with pytest.raises(EcgcamError, match=r"pack-00001.tar: cannot be written \(Is a directory\)"):
        packs.add("a", files(b""))


def test_two_calls_do_not_write_to_one_pack(tmp_path: Path) -> None:
    """Else the second one would cut off what the first one is just writing."""
    first, second = Packs(tmp_path, 5), Packs(tmp_path, 5)
    first.add("a/af", files(b"one"))
    before = (tmp_path / "pack-00000.tar").read_bytes()
    for meddle in (lambda: second.add("b/af", files(b"two")), second.open_for_append):
        with pytest.raises(EcgcamError, match=r"pack-00000.tar: another call is writing to it; wait for its end"):
            meddle()
    assert (tmp_path / "pack-00000.tar").read_bytes() == before
    first.close()
    second.add("b/af", files(b"two"))
    assert len(pack_members(tmp_path / "pack-00000.tar")) == 4


def test_a_pack_whose_folder_vanished_is_begun_again(tmp_path: Path) -> None:
    packs = Packs(tmp_path / "out", 5)
    packs.add("a/af", files(b"one"))
    shutil.rmtree(tmp_path / "out")
    packs.add("b/af", files(b"two"))
    assert list(pack_members(tmp_path / "out/pack-00000.tar")) == ["b/af/page.png", "b/af/summary.json"]
