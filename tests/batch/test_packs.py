"""Results in tar files: plain, whole up to any cut, and read like folders."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.handmade import explanation

from ecgcam.batch.packs import Packs
from ecgcam.errors import EcgcamError
from ecgcam.explanation import Explanation
from ecgcam.files import is_file, open_file, pack_members
from ecgcam.store import encode_result, write_result


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
    assert Packs(tmp_path, 2, (1, 8)).existing() == []
    Packs(tmp_path, 2, (1, 8)).add("c/af", files(b""))
    assert (tmp_path / "pack-1-of-8-00000.tar").is_file()
    assert len(Packs(tmp_path, 2).existing()) == 2


def test_an_explanation_is_read_from_a_pack_as_from_a_folder(tmp_path: Path) -> None:
    given = explanation()
    summary, encoded = encode_result(given, png=False, slug="af")
    assert "out" not in summary
    assert set(encoded) == {"explanation.npz"}
    Packs(tmp_path, 5).add("rec/af", encoded | {"summary.json": b"{}"})
    write_result(given, tmp_path / "rec/af", png=False)
    for inside in ("rec/af", "rec/af/explanation.npz"):
        packed, plain = Explanation.load(tmp_path / "pack-00000.tar" / inside), Explanation.load(tmp_path / inside)
        np.testing.assert_array_equal(packed.map, plain.map)
        assert packed.meta == plain.meta
    with pytest.raises(EcgcamError, match="no such explanation"):
        Explanation.load(tmp_path / "pack-00000.tar/rec/lbbb")


@pytest.mark.parametrize("size", [1, 2, 10])
def test_it_takes_up_after_the_last_result_that_is_done_wherever_it_was_cut(tmp_path: Path, size: int) -> None:
    names = ["a/af", "b/af", "c/af/w00000.000", "c/af/w00010.000", "d/af"]

    def write(out: Path, packs: Packs, wanted: list[str]) -> None:
        for name in wanted:
            packs.add(name, files(name.encode() * 300))

    write(tmp_path, Packs(tmp_path, size), names)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for done, cut in [(0, 1), (1, 0), (2, 700), (2, 5000), (4, 100), (5, 0)]:
        for name, content in whole.items():
            (tmp_path / name).write_bytes(content)
        last = tmp_path / max(whole)
        last.write_bytes(whole[last.name][: len(whole[last.name]) - cut] if done < 5 else whole[last.name])
        places = [f"out/pack-00000.tar/{name.split('/w')[0]}" for name in names[:done]]
        packs = Packs(tmp_path, size)
        packs.take_up(places)
        write(tmp_path, packs, names[done:])
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole, (done, cut)


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
    """Else the second one, going on by --resume, would cut off what the first one has just written."""
    first, second = Packs(tmp_path, 5), Packs(tmp_path, 5)
    first.add("a/af", files(b"one"))
    before = (tmp_path / "pack-00000.tar").read_bytes()
    for meddle in (lambda: second.add("b/af", files(b"two")), lambda: second.take_up([])):
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
