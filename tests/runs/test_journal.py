"""Lines that survive whatever happens to the process that writes them."""

from __future__ import annotations

import json
import logging
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from ecgcam.errors import EcgcamError
from ecgcam.runs import journal
from ecgcam.runs.journal import Journal


def line(record: str, status: str = "done", text: str = "af") -> dict[str, Any]:
    done = status == "done"
    return {
        "record": record, "text": text, "status": status, "out": f"{record}/{text}" if done else None,
        "error": None if done else "no", "fingerprint": "f",
    }  # fmt: skip


def test_a_line_is_json_as_documented(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    journal.append(path, [line("房颤")])
    text = path.read_text(encoding="utf-8")
    assert text == (
        '{"record": "房颤", "text": "af", "status": "done", "out": "房颤/af", "error": null, "fingerprint": "f"}\n'
    )
    assert list(journal.read(path)) == [line("房颤")]


def test_half_a_line_is_passed_over_and_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    journal.append(path, [line("a"), line("b")])
    whole = path.read_bytes()
    for cut in (whole[:-1], whole[:-30], whole + b'{"rec', whole + b"x" * 200_000):
        path.write_bytes(cut)
        kept = [one["record"] for one in journal.read(path)]
        assert kept == (["a", "b"] if len(cut) > len(whole) else ["a"])
        journal.append(path, [line("c")])
        assert [one["record"] for one in journal.read(path)] == [*kept, "c"]
        assert path.read_bytes().startswith(whole[: len(cut)] if len(cut) > len(whole) else whole.splitlines(True)[0])
    path.write_bytes(b'{"half')
    journal.append(path, [line("d")])
    assert path.read_text() == json.dumps(line("d")) + "\n"


@pytest.mark.parametrize("damaged", [b"hello", b"[1, 2]", b"\xff\xfe", b'{"fingerprint": 3}', b'{"a": "\\ud800"}'])
def test_a_damaged_line_is_passed_over_with_a_note(
    tmp_path: Path, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "manifest.jsonl"
    journal.append(path, [line("a")])
    path.write_bytes(path.read_bytes() + damaged + b"\n")
    journal.append(path, [line("b")])
    logger = logging.getLogger("ecgcam")
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO, "ecgcam"):
        assert [one["record"] for one in journal.read(path)] == ["a", "b"]
    logger.removeHandler(caplog.handler)
    assert f"{path}: line 2 cannot be read and is skipped" in caplog.text


def test_failures_wait_for_the_first_result(tmp_path: Path) -> None:
    path = tmp_path / "one/manifest.jsonl"
    one = Journal(path)
    one.add_spec({"model": "m"}, "f")
    one.add(line("a", "failed"), failed=True)
    assert not path.parent.exists()
    one.add(line("b"))
    one.add(line("c", "failed"), failed=True)
    assert [each.get("record", "spec") for each in journal.read(path)] == ["spec", "a", "b", "c"]
    many = Journal(tmp_path / "many/manifest.jsonl")
    for i in range(150):
        many.add(line(str(i), "failed"), failed=True)
    assert len(list(journal.read(tmp_path / "many/manifest.jsonl"))) == 150


def test_a_spec_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    for _ in range(2):  # a second call reads what the first wrote
        one = Journal(path)
        for _ in range(2):
            one.add_spec({"model": "m"}, "f")
            one.add(line("a"))
    assert [each.get("record", "spec") for each in journal.read(path)] == ["spec", "a", "a", "a", "a"]


def test_without_a_file_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = Journal(None)
    one.add_spec({}, "f")
    one.add(line("a"))
    assert not list(tmp_path.iterdir())


def _write(path: Path, name: str) -> None:
    one = Journal(path)
    for i in range(200):
        one.add(line(f"{name}{i}"))


def test_several_processes_write_whole_lines(tmp_path: Path) -> None:
    """Calls that write at the same time lose nothing of one another."""
    path = tmp_path / "manifest.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert {one["record"] for one in journal.read(path)} == {f"{name}{i}" for name in "abc" for i in range(200)}


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").mkdir()
    with pytest.raises(EcgcamError, match=r"manifest.jsonl: cannot be written \(Is a directory\)"):
        journal.append(tmp_path / "manifest.jsonl", [line("a")])
