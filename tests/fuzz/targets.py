"""What is fuzzed: valid files of every kind that ecgcam reads, small, and what must hold of what is made of them."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.records import CANONICAL_LEADS, Record, read_record, take_window
from tests.fuzz import labs, results
from tests.fuzz.harness import Files, Target

FS, SAMPLES = 250, 300


@cache
def signal() -> npt.NDArray[np.float64]:
    """Return 12 leads x 300 samples, mV; limb leads as Einthoven has them."""
    random = np.random.default_rng(0)
    time = np.arange(SAMPLES) / FS
    rows = random.normal(0, 0.05, (12, SAMPLES)) + np.sin(2 * np.pi * 1.3 * time) * random.uniform(0.5, 1.5, (12, 1))
    rows[2] = rows[1] - rows[0]
    rows[3], rows[4], rows[5] = -(rows[0] + rows[1]) / 2, rows[0] - rows[1] / 2, rows[1] - rows[0] / 2
    return rows


def gathered(write: Callable[[Path], object]) -> Files:
    """Return the files that `write` puts into an empty folder."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The inplace keyword in DataFrame")  # wfdb 4.3 with pandas 3
        write(Path(folder))
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


# Recordings


def right(record: Record) -> None:
    """Assert what holds of every record, whatever file it was."""
    assert record.signal.dtype == np.float32
    assert record.signal.shape[0] == len(record.leads) > 0
    assert record.signal.shape[1] > 0
    assert not np.isinf(record.signal).any()
    assert list(record.leads) == [lead for lead in CANONICAL_LEADS if lead in record.leads]
    assert set(record.derived) <= set(record.leads)
    assert 10 <= record.fs <= 100_000
    assert record.seconds > 0
    assert all(isinstance(note, str) and note for note in record.notes)


def recording(name: str, folder: Path, valid: Files, changed: Files, options: dict[str, Any] | None = None) -> None:
    """Read a recording, and take the window that a model would see."""
    record = read_record(folder / name, **(options or {}))
    right(record)
    window = take_window(record, 250.0, 500)
    assert np.isfinite(window.signal).all()
    assert window.signal.shape == window.valid.shape == (len(record.leads), 500)
    assert window.valid.any()


def wfdb_record(
    folder: Path, fmt: str, names: tuple[str, ...] = ("I", "II", "V1"), frame: int = 1, **header: Any
) -> None:
    """Write a WFDB record by the library that reads it."""
    import wfdb

    gain = 50.0 if fmt in {"80", "508"} else 200.0
    steps = [np.round(signal()[i] * gain).astype(np.int64) for i in range(len(names))]
    record = wfdb.Record(
        record_name="rec", n_sig=len(names), fs=FS, sig_len=SAMPLES // frame, file_name=["rec.dat"] * len(names),
        fmt=[fmt] * len(names), adc_gain=[gain] * len(names), baseline=[0] * len(names), units=["mV"] * len(names),
        adc_res=[12] * len(names), adc_zero=[0] * len(names), block_size=[0] * len(names), sig_name=list(names),
        init_value=[int(row[0]) for row in steps], comments=["a comment"], samps_per_frame=[frame] * len(names), **header,
    )  # fmt: skip
    if frame == 1:
        record.d_signal = np.stack(steps, axis=1)
        record.checksum = record.calc_checksum()
        record.wrsamp(write_dir=str(folder))
    else:
        record.e_d_signal = steps
        record.checksum = record.calc_checksum(expanded=True)
        record.wrsamp(expanded=True, write_dir=str(folder))


FORMATS = ("16", "24", "32", "80", "508", "516", "524")
# Formats that wfdb reads and does not write: any bytes are samples.
READ_ALONE = ("8", "212", "160", "310", "311")


@cache
def wfdb_seeds() -> list[Files]:
    """Return a record of every format of signal(5), one of several samples a frame, one with an offset and a skew."""
    made = [gathered(partial(wfdb_record, fmt=fmt)) for fmt in FORMATS]
    plain = gathered(partial(wfdb_record, fmt="16", names=CANONICAL_LEADS))
    made += [plain, gathered(partial(wfdb_record, fmt="16", names=("MLII", "V5")))]
    made.append({**plain, "rec.hea": plain["rec.hea"].replace(b"rec 12 250", b"rec 12 250/250(0) ")})
    raw = np.random.default_rng(1).integers(-500, 500, 1300).astype("<i2").tobytes()
    for fmt in READ_ALONE:
        line = f"rec.dat {fmt} 200/mV 12 0 0 0 0 "
        made.append({"rec.hea": f"rec 2 250 300\n{line}I\n{line}II\n".encode(), "rec.dat": raw})
    line = b"rec.dat 16x2:3+4 200(5)/mV 12 0 0 0 0 I\nrec.dat 16x2 1e3/uV 12 0 0 0 0 II\n"
    made.append({"rec.hea": b"rec 2 250 300 12:30:00 01/02/2020\n" + line, "rec.dat": raw})
    return made


def multi_seeds() -> list[Files]:
    """Return records of two segments, with a layout and without, one with a gap."""
    one = gathered(partial(wfdb_record, fmt="16"))

    def segment(name: str) -> Files:
        return {
            f"{name}.hea": one["rec.hea"].replace(b"rec", name.encode()),
            f"{name}.dat": one["rec.dat"],
        }

    layout = b"lay 3 250 0\n~ 0 200/mV 12 0 0 0 0 I\n~ 0 200/mV 12 0 0 0 0 II\n~ 0 200/mV 12 0 0 0 0 V1\n"
    return [
        {"rec.hea": b"rec/2 3 250 600\nsa 300\nsb 300\n", **segment("sa"), **segment("sb")},
        {
            "rec.hea": b"rec/4 3 250 700\nlay 0\nsa 300\n~ 100\nsb 300\n",
            "lay.hea": layout,
            **segment("sa"),
            **segment("sb"),
        },
    ]


def wfdb_part(folder: Path, valid: Files, changed: Files) -> None:
    """Read a stretch of a recording where its length is known: the same samples as the whole has there."""
    from ecgcam.records.readers import read_stretch, wfdb_length

    length = wfdb_length(folder / "rec.hea")
    if length is None:
        recording("rec.hea", folder, valid, changed)
        return
    assert length.samples >= 0
    assert 10 <= length.fs <= 100_000
    record = read_stretch(folder / "rec.hea", 0.2, 0.6)
    right(record)


def array_seeds() -> list[Files]:
    """Return npy files of several layouts."""
    rows = signal()
    made = [
        rows,
        rows.T.astype(np.float32),
        rows.astype(">f4"),
        np.asfortranarray(rows),
        (rows * 1000).astype("<i2"),
        rows[:, :40],
    ]
    return [gathered(partial(_npy, array=array)) for array in made]


def _npy(folder: Path, array: npt.NDArray[Any]) -> None:
    np.save(folder / "rec.npy", array)


def archive_seeds() -> list[Files]:
    """Return npz archives, compressed or not."""

    def write(folder: Path, save: Callable[..., None], **arrays: Any) -> None:
        save(folder / "rec.npz", **arrays)

    names = np.array(CANONICAL_LEADS)
    return [
        gathered(partial(write, save=np.savez, signal=signal(), fs=250, leads=names)),
        gathered(partial(write, save=np.savez_compressed, ecg=signal().T.astype(np.float32), fs=250.0, lead_names=names)),
        gathered(partial(write, save=np.savez_compressed, val=signal()[:3], fs=np.array([500]), sig_name=names[:3], age=60)),
    ]  # fmt: skip


def matlab_seeds() -> list[Files]:
    """Return mat files of versions 4 and 5, compressed or not, names as cells, characters or none."""
    from scipy.io import savemat

    cells = np.array(CANONICAL_LEADS, object)[None]
    contents: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"val": (signal() * 1000).astype(np.int16)}, {"format": "4"}),
        ({"val": signal(), "fs": 250.0}, {"format": "4"}),
        ({"signal": signal(), "fs": 250, "leads": cells}, {"do_compression": False}),
        ({"ecg": signal().astype(np.float32), "fs": 250, "leads": np.array(CANONICAL_LEADS)}, {"do_compression": True}),
        ({"val": (signal() * 1000).astype(np.int16), "fs": 500, "leads": cells, "info": {"age": 3, "who": "x"}}, {}),
        (
            {"data": signal()[:3].astype(np.float32), "flag": np.array([[True]]), "z": np.array([[1 + 2j]])},
            {"do_compression": True},
        ),
    ]

    def write(folder: Path, held: dict[str, Any], options: dict[str, Any]) -> None:
        savemat(folder / "rec.mat", held, **options)

    return [gathered(partial(write, held=held, options=options)) for held, options in contents]


# Models


def model_file_seeds() -> list[Files]:
    """Return the model files that ecgcam brings, as a user's own."""
    from ecgcam.resources import configs

    return [{"m.toml": path.read_bytes()} for path in sorted((configs() / "models").glob("*.toml"))]


def model_file(folder: Path, _valid: Files, _changed: Files) -> None:
    """Read a model file and lay out its network, without memory."""
    from ecgcam.models.load import build_network
    from ecgcam.models.model_file import load_spec

    spec = load_spec(folder / "m.toml")
    assert spec.input.samples > 0
    assert spec.layer in spec.layers
    build_network(spec)


def boxes_seeds() -> list[Files]:
    """Return the files of boxes that ecgcam brings."""
    from ecgcam.resources import configs

    return [{"b.toml": path.read_bytes()} for path in sorted((configs() / "boxes").glob("*.toml"))]


def boxes(folder: Path, _valid: Files, _changed: Files) -> None:
    """Read a file of boxes."""
    from ecgcam.render.boxes import load_boxes

    page = load_boxes(str(folder / "b.toml"))
    assert page.boxes
    assert all(np.isfinite([box.left, box.top, box.right, box.bottom, box.start]).all() for box in page.boxes)


def state() -> dict[str, Any]:
    """Return a small state dict of several types."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return {
        "signal.stem.weight": torch.randn(4, 3, 5, generator=generator), "signal.stem.bias": torch.zeros(4),
        "steps": torch.tensor(7), "half": torch.ones(3, dtype=torch.float16), "flags": torch.tensor([True, False]),
        "view": torch.arange(12.0).reshape(3, 4).T,
    }  # fmt: skip


def torch_seeds() -> list[Files]:
    """Return torch files: zip and the older pickle, bare and wrapped."""
    import torch

    def saved(content: object, zipped: bool) -> Files:
        written = io.BytesIO()
        torch.save(content, written, _use_new_zipfile_serialization=zipped)
        return {"c.pt": written.getvalue()}

    wrapped = {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state().items()}, "best": 0.9}
    return [saved(content, zipped) for content in (state(), wrapped) for zipped in (True, False)]


def safetensors_seeds() -> list[Files]:
    """Return a safetensors file."""
    from safetensors.torch import save

    return [{"c.safetensors": save({key: value.contiguous() for key, value in state().items()}, {"format": "pt"})}]


def weights_seeds() -> list[Files]:
    """Return an npz checkpoint."""
    written = io.BytesIO()
    np.savez_compressed(written, **{key: value.numpy() for key, value in state().items()})  # type: ignore[arg-type]
    return [{"c.npz": written.getvalue()}]


@cache
def _network() -> Any:
    from ecgcam.models.load import build_network
    from ecgcam.models.model_file import load_spec

    return build_network(load_spec("mini"))


def checkpoint(name: str, folder: Path, _valid: Files, _changed: Files) -> None:
    """Read a checkpoint, and hold it against a network."""
    import torch

    from ecgcam.models.checkpoint import format_key_errors, incompatible_keys, read_state

    read = read_state(folder / name, len(_changed[name]) % 2 == 0)
    assert all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in read.items())
    assert "\n" not in format_key_errors(incompatible_keys(_network(), read))


def table_seeds() -> list[Files]:
    """Return a table of prompts."""
    written = io.BytesIO()
    features = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    np.savez(written, texts=np.array(["af", "lbbb", "Vorhofflimmern ü"]), features=features, tower=np.array("t"))
    return [{"t.npz": written.getvalue()}]


def table(folder: Path, _valid: Files, _changed: Files) -> None:
    """Read a table of prompts and look each up."""
    from ecgcam.models.text.table import TableEncoder, read_table

    read = read_table(folder / "t.npz")
    encoder = TableEncoder(read, read.features.shape[1])
    assert encoder.encode(list(read.texts)).shape == read.features.shape
    assert np.isfinite(read.features).all()


# Results and prompts


@cache
def explanation_seeds() -> list[Files]:
    """Return an explanation of the bundled model."""
    from ecgcam import explain

    record = Record("rec", signal().astype(np.float32), float(FS), CANONICAL_LEADS)

    def write(folder: Path) -> None:
        explain(record, ["af"])[0].save(folder)

    return [gathered(write)]


def explanation(folder: Path, _valid: Files, _changed: Files) -> None:
    """Read an explanation as `draw` and `summarize` do."""
    from ecgcam.results.explanation import SCALES, Explanation

    read = Explanation.load(folder / "explanation.npz")
    read.check()
    for scale in SCALES:
        assert read.scaled_map(scale).shape == read.map.shape
    read.summary()


def prompt_seeds() -> list[Files]:
    """Return files of prompts in several scripts."""
    texts = (
        "atrial fibrillation\nleft bundle branch block\n",
        "Vorhofflimmern, über 100/min\r\nфибрилляция\n心房颤动\n",
        "x" * 5000 + "\n",
    )
    return [{"p.txt": text.encode()} for text in texts]


@cache
def _tower() -> Any:
    from ecgcam.models.load import load_model

    return load_model("mini", device="cpu")


def prompts(folder: Path, _valid: Files, _changed: Files) -> None:
    """Read a file of prompts as the command line does, name their folders, and embed them."""
    from ecgcam.cli.options import read_prompts
    from ecgcam.models.text.vocabulary import clean_texts
    from ecgcam.runs.worklist import slugs

    texts = clean_texts(read_prompts([], folder / "p.txt"))
    assert texts
    assert all(text.strip() == text and text for text in texts)
    made = slugs(texts)
    assert len(set(made.values())) == len(texts)
    assert all(0 < len(slug) <= 80 and "/" not in slug and slug not in {".", ".."} for slug in made.values())
    embedded = _tower().encode_text(texts[:20])
    assert embedded.shape[0] == len(texts[:20])
    assert bool(embedded.isfinite().all())
    for text in texts[:3]:
        _tower().text.warnings(text)


def name_seeds() -> list[Files]:
    """Return what people may give as lead names."""
    return [{"n.txt": text.encode()} for text in ("I,II,III,aVR", "standard", "Ⅱ, ECG lead V1 ,-aVR")]


def names(folder: Path, _valid: Files, changed: Files) -> None:
    """Take what was meant as lead names."""
    from ecgcam.records import canonical_name
    from ecgcam.records.record import parse_lead_names

    for name in parse_lead_names(changed["n.txt"].decode("utf-8", "surrogateescape")):
        assert canonical_name(name) in {None, *CANONICAL_LEADS}


STANDARD = {"fs": 250.0, "lead_names": CANONICAL_LEADS}
# How many times as many cases as others get: what strangers' files go through first. Those below 1 build networks.
TARGETS: dict[str, Target] = {
    "wfdb header": Target(wfdb_seeds, partial(recording, "rec.hea"), (".hea",)),
    "wfdb data": Target(wfdb_seeds, partial(recording, "rec.dat"), (".dat",)),
    "wfdb segments": Target(multi_seeds, partial(recording, "rec")),
    "wfdb stretch": Target(wfdb_seeds, wfdb_part),
    "npy": Target(array_seeds, partial(recording, "rec.npy", options=STANDARD)),
    "npz": Target(archive_seeds, partial(recording, "rec.npz")),
    "mat": Target(matlab_seeds, partial(recording, "rec.mat")),
    "mat, names given": Target(matlab_seeds, partial(recording, "rec.mat", options=STANDARD)),
    "edf": Target(partial(labs.edf_seeds, ".edf"), partial(labs.lab, ".edf")),
    "bdf": Target(partial(labs.edf_seeds, ".bdf"), partial(labs.lab, ".bdf")),
    "aecg and sierra xml": Target(labs.xml_seeds, partial(labs.lab, ".xml")),
    "dicom": Target(labs.dicom_seeds, partial(labs.lab, ".dcm")),
    "dicom groups": Target(labs.groups_seeds, partial(labs.lab, ".dcm")),
    "ge muse xml": Target(labs.muse_seeds, partial(labs.lab, ".xml")),
    "scp-ecg": Target(labs.scp_seeds, partial(labs.lab, ".scp")),
    "ishne": Target(labs.ishne_seeds, partial(labs.lab, ".ecg")),
    "mfer": Target(labs.mfer_seeds, partial(labs.lab, ".mwf")),
    "csv": Target(labs.csv_seeds, partial(labs.lab, ".csv")),
    "hdf5": Target(labs.many_seeds, partial(labs.many, ".h5")),
    "npz of many": Target(labs.stack_seeds, partial(labs.many, ".npz")),
    "model file": Target(model_file_seeds, model_file),
    "boxes": Target(boxes_seeds, boxes),
    "checkpoint, torch": Target(torch_seeds, partial(checkpoint, "c.pt")),
    "checkpoint, safetensors": Target(safetensors_seeds, partial(checkpoint, "c.safetensors")),
    "checkpoint, npz": Target(weights_seeds, partial(checkpoint, "c.npz")),
    "embeddings": Target(table_seeds, table),
    "explanation": Target(explanation_seeds, explanation, (".npz",)),
    "prompts": Target(prompt_seeds, prompts),
    "lead names": Target(name_seeds, names),
    "results": Target(explanation_seeds, results.EXPLANATION, ("explanation.npz", "summary.json")),
    "pack": Target(results.pack_seeds, results.PACK),
    "manifest": Target(results.manifest_seeds, results.manifest),
    "evidence": Target(results.evidence_seeds, results.evidence),
    "annotations": Target(results.annotation_seeds, results.annotation, (".atr",)),
    "truth": Target(results.truth_seeds, results.truth),
    "timeline": Target(results.timeline_seeds, results.timeline),
    "reference": Target(results.reference_seeds, results.reference),
    "scan": Target(results.scan_seeds, results.scan),
    "list of recordings": Target(results.list_seeds, results.listed),
}  # fmt: skip
WEIGHTS = {
    "wfdb header": 3.0,
    "npy": 2.0,
    "npz": 2.0,
    "mat": 3.0,
    "edf": 2.0,
    "aecg and sierra xml": 3.0,
    "dicom": 2.0,
    "scp-ecg": 2.0,
    "csv": 2.0,
    "hdf5": 2.0,
    "results": 0.3,
    "pack": 0.3,
    "truth": 0.5,
    "timeline": 0.5,
    "reference": 0.5,
    "scan": 0.5,
    "list of recordings": 0.5,
    "model file": 0.1,
    "prompts": 0.3,
    "explanation": 0.5,
}


def shares(cases: int, chosen: list[str]) -> dict[str, int]:
    """Return how many of `cases` each target gets."""
    whole = sum(WEIGHTS.get(name, 1.0) for name in chosen)
    return {name: -(-int(cases * WEIGHTS.get(name, 1.0)) // max(1, round(whole))) for name in chosen}
