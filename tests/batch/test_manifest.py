"""Lines that survive whatever happens to the process that writes them."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from ecgcam.batch import manifest
from ecgcam.batch.manifest import DONE, FAILED, Line, Manifest
from ecgcam.errors import EcgcamError


def line(record: str, status: str = DONE, text: str = "af") -> Line:
    return Line(
        record, text, status, f"out/{record}/{text}" if status == DONE else None, None if status == DONE else "no"
    )


def test_a_line_is_the_designs_json(tmp_path: Path) -> None:
    manifest.append(tmp_path / "manifest.jsonl", [Line("房颤", "af", DONE, "out/x", None)])
    text = (tmp_path / "manifest.jsonl").read_text(encoding="utf-8")
    assert text == '{"record": "房颤", "text": "af", "status": "done", "out": "out/x", "error": null}\n'
    assert list(manifest.read(tmp_path)) == [Line("房颤", "af", DONE, "out/x", None)]


def test_half_a_line_is_passed_over_and_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    manifest.append(path, [line("a"), line("b")])
    whole = path.read_bytes()
    for cut in (whole[:-1], whole[:-30], whole + b'{"rec', whole + b"x" * 200_000):
        path.write_bytes(cut)
        kept = [one.record for one in manifest.read(tmp_path)]
        assert kept == (["a", "b"] if len(cut) > len(whole) else ["a"])
        manifest.append(path, [line("c")])
        assert [one.record for one in manifest.read(tmp_path)] == [*kept, "c"]
        assert path.read_bytes().startswith(whole[: len(cut)] if len(cut) > len(whole) else whole.splitlines(True)[0])
    path.write_bytes(b'{"half')
    manifest.append(path, [line("d")])
    assert path.read_text() == json.dumps(vars(line("d"))) + "\n"


def test_what_is_no_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text("hello\n")
    with pytest.raises(EcgcamError, match=r"manifest.jsonl: line 1: not a line of a manifest"):
        manifest.finished(tmp_path)
    (tmp_path / "manifest.jsonl").write_text('{"record": 1}\n')
    with pytest.raises(EcgcamError, match="line 1"):
        manifest.finished(tmp_path)


def test_the_last_line_counts(tmp_path: Path) -> None:
    lines = [line("a"), line("b", FAILED), line("c"), line("b"), line("c", FAILED)]
    manifest.append(tmp_path / "manifest.jsonl", lines)
    assert manifest.finished(tmp_path) == {("a", "af"): "out/a/af", ("b", "af"): "out/b/af"}
    assert manifest.finished(tmp_path / "nowhere") == {}


def test_failures_wait_for_something_that_is_done(tmp_path: Path) -> None:
    one = Manifest(tmp_path / "one")
    one.add(line("a", FAILED))
    assert not (tmp_path / "one").exists()
    one.add(line("b"))
    one.add(line("c", FAILED))
    assert [each.record for each in manifest.read(tmp_path / "one")] == ["a", "b", "c"]
    many = Manifest(tmp_path / "many")
    for i in range(150):
        many.add(line(str(i), FAILED))
    assert len(list(manifest.read(tmp_path / "many"))) == 150


def test_what_is_made_again_is_forgotten(tmp_path: Path) -> None:
    manifest.append(tmp_path / "manifest.jsonl", [line("a"), line("b"), line("b", text="lbbb")])
    manifest.forget(tmp_path, lambda one: one.record == "b" and one.text == "af")
    assert [one.key for one in manifest.read(tmp_path)] == [("a", "af"), ("b", "lbbb")]
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.jsonl"]
    manifest.forget(tmp_path / "nowhere", lambda _: True)
    assert not (tmp_path / "nowhere").exists()


def _write(path: Path, name: str) -> None:
    for i in range(200):
        manifest.append(path, [line(f"{name}{i}")])


def test_several_processes_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert {one.record for one in manifest.read(tmp_path)} == {f"{name}{i}" for name in "abc" for i in range(200)}


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").mkdir()
    with pytest.raises(EcgcamError, match=r"manifest.jsonl: cannot be written \(Is a directory\)"):
        manifest.append(tmp_path / "manifest.jsonl", [line("a")])
