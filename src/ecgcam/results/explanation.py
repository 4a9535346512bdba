"""The result of an explanation: arrays on one time base, scores, and every setting needed to repeat the call."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError, no_such
from ecgcam.files import atomic, is_file, load_arrays, parse_json, save_arrays

FORMAT = "ecgcam-explanation/1"
FILE = "explanation.npz"
SUMMARY = "summary.json"
SCALES = ("evidence", "lead", "raw")
LAYOUTS = ("12x1", "3x4")

Floats = npt.NDArray[np.float32]


# Far beyond any rate or score, and still a number in float32.
_LARGEST = 1e30
# What a run adds to the meta of a result: what identifies it, what repeats it, and what it concludes.
RUN_KEYS = ("fingerprint", "spec", "recording_sha256", "recording_file", "verdict", "check", "criteria", "reasons")
_NO_SETTINGS = frozenset({"record", "text", "warnings", "prompt_warnings", "format", *RUN_KEYS})
# The folder of one window of several; a prompt's folder has no dot.
WINDOW_FOLDER = re.compile(r"w\d{5,}\.\d{3}")


@dataclass(frozen=True, eq=False)
class Explanation:
    """One record, one prompt: which leads, and which moments.

    L leads are the record's, in canonical order; T samples are the window at the model's rate; C cells are the target layer's
    (0 for methods without cells). No array holds NaN.

    Attributes
    ----------
    map : float32, (L, T)
        The method's map laid on the samples; >= 0 unless ``meta["signed"]``; 0 where `valid` is false.
    map_cells, cell_time : float32, (L, C), float64, (C,)
        Cells before relu, and the centre of each, s from the start of the record.
    gradient, gradient_smoothed : float32, (L, T)
        d score / d mV, and its magnitude smoothed along time (signed if requested); (L, 0) where not computed.
    signal : float32, (L, T)
        The model's input in millivolts.
    time : float64, (T,)
        Seconds from the start of the record.
    fs : float
        Samples per second.
    valid : bool, (L, T)
        False where the sample is padding, missing, or on a flat lead.
    leads : tuple of str
        Row names.
    score, empty_score : float
        Similarity of the window, and of the window with every lead filled.
    lead_scores : float32, (L,)
        Similarity of each lead alone.
    mask_shift : float32, (L,)
        1 - cosine between the embedding of the window and of each lead alone.
    meta : dict
        The settings, and notes for the reader.
    """

    map: Floats
    map_cells: Floats
    cell_time: npt.NDArray[np.float64]
    gradient: Floats
    gradient_smoothed: Floats
    signal: Floats
    time: npt.NDArray[np.float64]
    fs: float
    valid: npt.NDArray[np.bool_]
    leads: tuple[str, ...]
    score: float
    empty_score: float
    lead_scores: Floats
    mask_shift: Floats
    meta: dict[str, Any]

    def __repr__(self) -> str:
        verdict = self.meta.get("verdict")
        answer = "" if not verdict else f", {verdict['answer']}"
        rows = [row for row in self.ranking if self.valid[row].any()][:3]
        best = ", ".join(f"{self.leads[row]} {self.gains[row]:+.3f}" for row in rows)
        return (
            f"<Explanation of {self.meta['record']!r} for {self.meta['text']!r} by {self.meta['method']}: "
            f"score {self.score:.3f}{answer}; {best}>"
        )

    def _repr_html_(self) -> str:
        """Return a small page, the verdict, the check and a table of leads, for notebooks."""
        from ecgcam.results.notebook import explanation_html

        return explanation_html(self)

    def plot(self, **options: Any) -> Any:
        """Return the page as a Matplotlib Figure; `options` are those of `ecgcam.render.page`."""
        from importlib import import_module

        return import_module("ecgcam.render").page(self, **options)  # drawing is above this package

    def plot_lead(self, lead: str, **options: Any) -> Any:
        """Return one lead over its map as a Matplotlib Figure; `options` are those of `ecgcam.render.strip`."""
        from importlib import import_module

        if lead not in self.leads:
            raise no_such(f"`lead` {lead}", "lead in this explanation", lead, self.leads)
        return import_module("ecgcam.render").strip(self, lead, **options)

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame with a row for each lead and sample: lead, time_s, signal_mv, map, gradient.

        `gradient` is NaN where no input gradient was computed.
        """
        from ecgcam.results.notebook import pandas

        leads, samples = self.map.shape
        gradient = self.gradient if self.gradient.shape == self.map.shape else np.full((leads, samples), np.nan)
        return pandas().DataFrame({
            "lead": np.repeat(self.leads, samples),
            "time_s": np.tile(self.time, leads),
            "signal_mv": self.signal.ravel(),
            "map": self.map.ravel(),
            "gradient": gradient.ravel(),
        })  # fmt: skip

    @property
    def gains(self) -> Floats:
        """The gain of each lead: its score alone, less the score with every lead filled, (L,)."""
        return self.lead_scores - np.float32(self.empty_score)

    @property
    def ranking(self) -> list[int]:
        """Row numbers by gain, largest first; canonical order among equals."""
        return sorted(range(len(self.leads)), key=lambda row: -float(self.gains[row]))

    def scaled_map(self, scale: str = "evidence") -> npt.NDArray[np.float64]:
        """Return the map (L, T) on one scale for all leads.

        ``evidence``: each lead's map has unit mass (its integral over seconds is 1) times the lead's positive gain, so that
        colour stands for similarity per second. ``lead``: each lead's map over its own largest magnitude. ``raw``: as it is.
        """
        values = self.map.astype(np.float64)
        if scale == "raw":
            return values
        if scale == "lead":
            largest = np.abs(values).max(axis=1, keepdims=True, initial=0.0)
            relative: npt.NDArray[np.float64] = np.divide(values, largest, out=np.zeros_like(values), where=largest > 0)
            return relative
        if scale != "evidence":
            raise no_such(f"`scale` {scale}", "scale", scale, SCALES)
        mass = np.abs(values).sum(axis=1, keepdims=True) / self.fs
        density: npt.NDArray[np.float64] = np.divide(values, mass, out=np.zeros_like(values), where=mass > 0)
        density *= np.maximum(self.gains.astype(np.float64), 0.0)[:, None]
        return density

    def moments(self, row: int, count: int = 3, apart: float = 0.2) -> list[float]:
        """Return the times (s) of a lead's strongest moments, strongest first.

        A moment is a local maximum of the map, or the middle of a flat one; moments are at least `apart` seconds apart. Fewer
        than `count` are returned if the map has fewer, and none if it is constant.
        """
        values = np.abs(self.map[row])
        real = values[self.valid[row]]
        if not real.size or np.ptp(real) == 0:
            return []
        starts = np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1])
        stops = np.concatenate([starts[1:], [len(values)]])
        level = np.concatenate([[-np.inf], values[starts], [-np.inf]])
        highest = (level[1:-1] > 0) & (level[1:-1] > level[:-2]) & (level[1:-1] > level[2:])
        peaks = ((starts + stops - 1) // 2)[highest]
        chosen: list[float] = []
        closest = apart - 1e-6  # 0.6 - 0.4 is a little less than 0.2
        for peak in peaks[np.argsort(-values[peaks], kind="stable")]:
            time = float(self.time[peak])
            if all(abs(time - other) >= closest for other in chosen):
                chosen.append(time)
            if len(chosen) == count:
                break
        return chosen

    def summary(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds: scores, leads ranked by gain with their moments, settings, warnings.

        `ecgcam.runs.writer` adds the folder it wrote to.
        """
        from ecgcam.results.ranks import lead_ranks

        settings = {k: v for k, v in self.meta.items() if k not in _NO_SETTINGS}
        ranks = lead_ranks(self)
        return {
            "record": self.meta["record"],
            "text": self.meta["text"],
            "slug": slug_of(self.meta["text"]),
            "score": round(float(self.score), 6),
            "empty_score": round(float(self.empty_score), 6),
            "leads": [
                {
                    "name": self.leads[row],
                    "rank": ranks[row],
                    "score": round(float(self.lead_scores[row]), 6),
                    "gain": round(float(self.gains[row]), 6),
                    "moments_s": [round(moment, 3) for moment in self.moments(row)],
                }
                for row in sorted(self.ranking, key=lambda row: ranks[row] is None)
            ],
            "settings": settings,
            "warnings": list(self.meta["warnings"]),
            "prompt_warnings": list(self.meta.get("prompt_warnings", ())),
            **{key: self.meta.get(key) for key in RUN_KEYS},
        }

    def save(self, folder: str | Path) -> Path:
        """Write ``explanation.npz`` and ``summary.json`` into `folder` (made if needed), each whole or not at all.

        Raises
        ------
        EcgcamError
            If a value is not finite.
        """
        folder = Path(folder)
        self.check()
        folder.mkdir(parents=True, exist_ok=True)
        file = self.save_arrays(folder)
        with atomic(folder / SUMMARY) as path:
            path.write_text(json.dumps(self.summary(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return file

    def save_arrays(self, folder: Path) -> Path:
        """Write only ``explanation.npz``, into an existing folder, whole or not at all."""
        self.check()
        with atomic(folder / FILE) as path:
            save_arrays(path, self._arrays())
        return folder / FILE

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Read an ``explanation.npz``, or the one in a folder, or in a pack: ``pack-00000.tar/record/prompt``.

        Raises
        ------
        EcgcamError
            If the file is missing, is not an explanation, or lacks a key.
        """
        path = Path(path)
        path = path / FILE if path.is_dir() or is_file(path / FILE) else path
        if not is_file(path):
            raise EcgcamError(f"{path}: no such file; ecgcam explain writes it")
        arrays = load_arrays(path, "an explanation of ecgcam")
        if not isinstance(arrays, dict):
            raise EcgcamError(f"{path}: not an explanation of ecgcam (a single array); explain the recording again")
        names = [field.name for field in fields(cls)]
        if missing := [name for name in names if name not in arrays]:
            raise EcgcamError(
                f"{path}: not an explanation of ecgcam (no {', '.join(missing)}); explain the recording again"
            )
        try:
            meta = parse_json(str(arrays["meta"]))
        except ValueError as error:
            raise EcgcamError(
                f"{path}: not an explanation of ecgcam (its meta is not JSON); explain the recording again"
            ) from error
        written = meta.get("format") if isinstance(meta, dict) else None
        if written != FORMAT:
            raise EcgcamError(
                f"{path}: written in the format {written!r}; this version reads {FORMAT!r}; explain the recording again"
            )
        scalars = {name: float(arrays[name]) for name in ("fs", "score", "empty_score")}
        for name, value in scalars.items():
            if not abs(value) <= _LARGEST:
                raise EcgcamError(f"{path}: damaged ({name} is {value:g}); explain the recording again")
        return cls(**{
            **{name: arrays[name] for name in names},
            **scalars,
            "leads": tuple(str(lead) for lead in arrays["leads"]),
            "meta": meta,
        })  # fmt: skip

    def check(self) -> None:
        """Raise `EcgcamError` if a value is not finite: no file holds NaN, and JSON cannot represent it."""
        for name, array in self._arrays().items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise EcgcamError(
                    f"{self.meta['record']}: the model gave a {name} that is not a finite number for "
                    f"{self.meta['text']!r}; nothing was written"
                )

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        arrays = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self) if field.name != "meta"}
        return arrays | {"meta": np.asarray(json.dumps(self.meta, ensure_ascii=False, sort_keys=True))}


def window_name(start: float) -> str:
    """Return the folder name of a window that begins `start` seconds into its recording."""
    return f"w{start:09.3f}"


def slug_of(text: str, distinct: bool = False) -> str:
    """Return the folder name of a prompt: NFKC, lower case, letters and digits of any script kept, at most 60 characters.

    Empty and cut ones get eight hex digits of the prompt's SHA-256, as do those that must be distinguished (`distinct`).
    """
    import hashlib
    import unicodedata

    normal = unicodedata.normalize("NFKC", text).lower()
    kept = re.sub(r"-+", "-", "".join(c if c.isalnum() else "-" for c in normal)).strip("-")
    if kept and len(kept) <= 60 and not distinct:
        return kept
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{kept[:51].rstrip('-')}-{digest}"
