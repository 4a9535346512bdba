"""What ecgcam itself wrote earlier and reads again, damaged since: manifests, summaries, packs, journals, truths, timelines."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ecgcam.records import CANONICAL_LEADS
from tests.fuzz.harness import Files

SETTINGS = {"method": "gradcam", "options": {"k": 1.5}, "mask": None}
ASKED = {"texts": ["af"], "metrics": ["insertion"], "seed": 0}


def _lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def manifest_seeds() -> list[Files]:
    """Return a journal with a spec and what is done and failed, and a result's summary."""
    fingerprint = "f" * 64
    lines = [
        {"spec": {"model": {"name": "m"}}, "fingerprint": fingerprint},
        *(
            {"record": record, "text": text, "status": status, "out": out, "error": error, "fingerprint": fingerprint}
            for record, text, status, out, error in (
                ("a", "af", "done", "a/af", None),
                ("b", "Vorhofflimmern ü", "failed", None, "b: cannot be read"),
            )
        ),
    ]
    summary = {"settings": SETTINGS, "spec": {"prompt": {"text": "af"}}, "fingerprint": fingerprint}
    return [{"manifest.jsonl": _lines(*lines), "a/af/summary.json": json.dumps(summary, indent=2).encode()}]


def manifest(folder: Path, _valid: Files, _changed: Files) -> None:
    """Go on as the next call does: read the journal, look for results, add to the journal."""
    from ecgcam.runs import journal
    from ecgcam.runs.places import Places
    from ecgcam.runs.spec import ModelRef, RunSpec
    from ecgcam.runs.worklist import Item

    path = folder / "manifest.jsonl"
    before = [line.get("fingerprint", "") for line in journal.read(path)]
    assert all(isinstance(one, str) for one in before)
    question = RunSpec(ModelRef("m", "w"), "af", None, {"method": "grad-cam"}, {"which": "one"})
    place = Places(folder).find(Item(Path("a.npy"), "a"), "af", question, "r")
    assert place.stored is None
    assert place.folder.parts[0] in {"a", "a.npy", "a-r"}
    journal.append(path, [{"record": "c", "fingerprint": "g"}])
    assert [line.get("fingerprint", "") for line in journal.read(path)] == [*before, "g"]


@cache
def pack_seeds() -> list[Files]:
    """Return a pack of one result and its summary."""
    from tests.fuzz.targets import explanation_seeds

    (files,) = explanation_seeds()
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("explanation.npz", "summary.json"):
            member = tarfile.TarInfo(f"rec/af/{name}")
            member.size = len(files[name])
            tar.addfile(member, io.BytesIO(files[name]))
    return [{"pack-00000.tar": written.getvalue()}]


def results(name: str, folder: Path, _valid: Files, _changed: Files) -> None:
    """Read results as `draw`, `summarize` and `report` do: found, loaded, their summaries, and where they go."""
    from ecgcam.render.report import report_html
    from ecgcam.results.collection import find_results, result_dir_of

    read = [(result.load(), result.summary()) for result in find_results([folder / name])]
    for explanation, _summary in read:
        assert folder in result_dir_of(explanation, folder).parents
    page = report_html(read, [])
    assert page.encode()
    held = page.split('type="application/json"')[-1].split("</script>")[0]
    assert "NaN" not in held or "NaN" in str(read)


def evidence_seeds() -> list[Files]:
    """Return a table of `evaluate` as lines and as one array, and the journal of a run."""
    from ecgcam.runs.evaluation import Entry

    row = {"text": "af\u2028x", "method": "gradcam", "mask": "median", "metric": "insertion", "direction": "higher",
           "mean": 0.5, "low": 0.25, "high": 0.75, "chance": None, "n": 20}  # fmt: skip
    entry = asdict(Entry("a", 0.0, "af", "gradcam", "median", {"insertion": 0.5}, {"insertion": None}))
    journal = _lines(
        {"spec": ASKED, "fingerprint": "f"},
        {"record": "a", "entries": [entry, entry], "fingerprint": "g"},
        {"record": "b", "entries": [], "fingerprint": "h"},
    )
    return [
        {"evidence.jsonl": _lines(row, row), "evidence-records.jsonl": journal},
        {"evidence.json": json.dumps([row, row]).encode(), "evidence-records.jsonl": journal},
    ]


def evidence(folder: Path, _valid: Files, _changed: Files) -> None:
    """Read a table as `report` does, and go on with a run as the next `evaluate` does."""
    from ecgcam.render.report import read_judgements
    from ecgcam.runs.evaluate_call import known_entries
    from ecgcam.runs.evaluation import Entry

    rows = read_judgements([folder])
    assert all(np.isfinite([value for value in row.values() if isinstance(value, float)]).all() for row in rows)
    found = known_entries(folder / "evidence-records.jsonl")
    entries = [Entry(**entry) for several in found.values() for entry in several]
    assert all(isinstance(value, int | float) for entry in entries for value in entry.values.values())


def _saved(name: str, **arrays: Any) -> Files:
    written = io.BytesIO()
    np.savez_compressed(written, **arrays)
    return {name: written.getvalue()}


def truth_seeds() -> list[Files]:
    """Return masks of lead x time, of all leads and of one."""
    mask = np.zeros((12, 300), bool)
    mask[3:5, 20:60] = True
    return [
        _saved("rec-truth.npz", mask=mask, leads=np.array(CANONICAL_LEADS), fs=np.array(250.0)),
        _saved("rec-truth.npz", mask=mask[3:4], leads=np.array(["AVR"]), fs=np.array([100])),
    ]


def truth(folder: Path, _valid: Files, _changed: Files) -> None:
    """Read a user's mask as `evaluate` does, and lay it on a window."""
    from ecgcam.evidence.truths import find_truth
    from ecgcam.records import Record, take_window
    from tests.fuzz.targets import FS, signal

    window = take_window(Record("rec", signal().astype(np.float32), float(FS), CANONICAL_LEADS), 250.0, 500)
    found = find_truth(folder / "rec.npy")
    assert found is not None
    assert found.on(window).shape == window.valid.shape
    assert not (found.on(window) & ~window.valid).any()


def annotation_seeds() -> list[Files]:
    """Return a WFDB recording's header and its beats, and waves from an onset to an end."""
    import wfdb

    from tests.fuzz.targets import gathered, wfdb_record

    marks = [(np.array([40, 200, 250]), ["N", "V", "N"]), (np.array([30, 40, 50, 200]), ["(", "V", ")", "N"])]
    made = []
    for samples, symbols in marks:
        files = gathered(lambda folder, at=samples, of=symbols: wfdb.wrann("rec", "atr", at, of, write_dir=str(folder)))
        made.append({**files, "rec.hea": gathered(lambda folder: wfdb_record(folder, "16"))["rec.hea"]})
    return made


def annotation(folder: Path, _valid: Files, _changed: Files) -> None:
    """Read the marks of a recording as `evaluate --annotations` does."""
    from ecgcam.evidence.truths import Annotations

    read = Annotations.parse("atr:V").read(folder / "rec.hea")
    assert read.mask.any()
    assert len(read.mask) == len(read.leads) == 12


def timeline_seeds() -> list[Files]:
    """Return the timeline of a recording of two windows."""
    from ecgcam.results.timeline import FORMAT, Timeline
    from tests.fuzz.targets import gathered

    ones = np.ones((3, 40), np.float32)
    meta = {"format": FORMAT, "record": "rec", "text": "af", "method": "gradcam"}
    made = Timeline(
        np.arange(40) / 4, 0.25, ones, ones, ones > 0, ("I", "II", "V1"), np.array([0.0, 5.0]), 5.0, np.ones(2, np.float32),
        np.zeros(2, np.float32), np.ones((2, 3), np.float32), np.array([1, 0]), meta,
    )  # fmt: skip
    return [gathered(made.save)]


def timeline(folder: Path, _valid: Files, _changed: Files) -> None:
    """Read a timeline."""
    from ecgcam.results.timeline import Timeline

    read = Timeline.load(folder)
    assert read.map.shape == read.evidence.shape == read.valid.shape == (len(read.leads), len(read.time))
    assert np.isfinite(read.map).all()
    assert read.window_start[read.strongest].shape == read.strongest.shape


def reference_seeds() -> list[Files]:
    """Return statistics of a model's recordings, small."""
    random = np.random.default_rng(0)
    arrays = {"mean": random.normal(size=4), "spread": random.uniform(1, 2, 4), "centres": random.normal(size=(3, 4)),
              "embeddings": random.normal(size=(5, 6))}  # fmt: skip
    half = {name: array.astype(np.float16) for name, array in arrays.items()}
    return [
        _saved(
            "w-reference.npz", checkpoint=np.array("x" * 64), layer=np.array("l"), limits=np.array((1.0, 2.0)), **half
        )
    ]


def reference(folder: Path, _valid: Files, _changed: Files) -> None:
    """Read the statistics beside a checkpoint, and hold signals against them."""
    import torch

    from ecgcam.protocol.reference import find_reference

    read = find_reference(folder / "w.npz", "x" * 64, torch.device("cpu"))
    if read is not None:
        cells, width = len(read.mean), read.embeddings.shape[1]
        assert read.distance(read.cell_distance(torch.ones(2, cells, 3)), torch.ones(2, width)).shape == (2,)


# Pictures and lists


def scan_seeds() -> list[Files]:
    """Return a page as PNG, JPEG and TIFF, one turned by its Exif."""
    from PIL import Image

    picture = Image.new("RGB", (420, 320), (255, 240, 240))
    picture.putpixel((9, 9), (0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    made = []
    for kind, options in (("PNG", {}), ("JPEG", {"exif": exif}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {})):
        written = io.BytesIO()
        picture.save(written, kind, **options)
        made.append({"scan.png": written.getvalue()})
    return made


def scan(folder: Path, _valid: Files, _changed: Files) -> None:
    """Read a picture of a page as `overlay` does."""
    from ecgcam.render.scan import read_scan

    read = read_scan(folder / "scan.png")
    assert read.mode == "RGB"
    assert read.width * read.height < 200_000_000


def list_seeds() -> list[Files]:
    """Return lists of recordings, one a line."""
    return [{"l.txt": text.encode()} for text in ("a/b.hea\na/c.hea\nü 1.npy\n", "x\n\nx\r\ny.edf\n", "../a.mat\n" * 3)]


def listed(folder: Path, _valid: Files, _changed: Files) -> None:
    """Take a list of recordings as `explain -` does: each has a place of its own below OUT."""
    from ecgcam.errors import EcgcamError
    from ecgcam.runs.worklist import each_recording

    refused: list[EcgcamError] = []
    with (folder / "l.txt").open(encoding="utf-8") as stdin:
        items = list(each_recording(["-"], stdin, refused.append))
    places = [folder / "out" / item.name for item in items]
    assert len(set(places)) == len(places)
    assert all(folder / "out" in place.parents and ".." not in place.parts for place in places)
    if refused and not items:
        raise refused[0]


EXPLANATION = partial(results, "")
PACK = partial(results, "pack-00000.tar")
