"""Multiple-choice questions about where a criterion shows: which time range, which lead. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcam.errors import EcgcamError
from ecgcam.files import one_line, parse_json
from ecgcam.results.intervals import cluster_means

Map = npt.NDArray[np.floating]

RANGE, LEAD = "range", "lead"
ALL = "all"
# Metric, kind of question, and its text.
METRICS = (
    ("range", RANGE, "Share of the questions whose right time range has the highest mean map."),
    ("lead auc", LEAD, "Area under the ROC curve of the gain, offered leads as cases."),
    ("top lead", LEAD, "Share of the questions whose lead of the largest gain, among those offered, is right."),
)


@dataclass(frozen=True)
class Question:
    """One question about one recording.

    Attributes
    ----------
    record : str
        Identifier of the recording.
    patient : str
        Identifier of the patient, by which intervals are made; the recording's where the file has none.
    text : str
        The diagnosis, as a prompt.
    criterion : str
        The criterion that the question is about. It is present on the recording.
    kind : str
        ``range`` or ``lead``.
    options : tuple
        Ranges (start, stop) in s, or names of leads.
    right : tuple of bool
        Which options are right.
    leads : tuple of str
        Of a range: the leads that show the criterion; empty for all.
    """

    record: str
    patient: str
    text: str
    criterion: str
    kind: str
    options: tuple[Any, ...]
    right: tuple[bool, ...]
    leads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a map answers: by metric, the value and the value of chance."""

    question: Question
    method: str
    layer: str | None
    mask: str
    values: dict[str, tuple[float, float]]


def read_questions(path: Path, patients: Mapping[str, str] | None = None) -> list[Question]:
    """Read questions in the form of ECG-Reasoning-Benchmark (arXiv:2603.14326): JSON, a recording and diagnosis a line.

    A line holds ``ecg_id``, ``dx``, ``label`` (the diagnosis holds) and ``steps``: ``criterion``, ``finding`` (the criterion is
    present), and ``lead`` and ``wave``, lists of {options, answer}; ranges are "a-b" in s. Questions are made of lines whose
    diagnosis holds and criteria that are present; ranges in other words than seconds are left out. `patients` maps ``ecg_id`` to
    a patient; a line may hold ``patient_id``.
    """
    try:
        lines = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except EcgcamError:
        raise
    except (OSError, ValueError) as error:
        raise EcgcamError(
            f"{path}: cannot be read as lines of JSON ({one_line(error)}); see `ecgcam docs evaluate`"
        ) from error
    questions = []
    for number, line in enumerate(lines, 1):
        try:
            if line["label"]:
                questions += _questions(line, patients or {})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EcgcamError(
                f"{path}: line {number} is not a question ({one_line(error)}); `ecgcam docs evaluate` shows the form"
            ) from error
    if not questions:
        raise EcgcamError(f"{path}: holds no question about a criterion that is present; see `ecgcam docs evaluate`")
    return questions


def questions_about(record_name: str, questions: Sequence[Question]) -> list[Question]:
    """Return the questions about a recording: its name is their identifier, or begins with that number (``00118_hr``)."""
    digits = re.match(r"\d+", Path(record_name).name)
    names = {record_name, Path(record_name).name, *([str(int(digits[0]))] if digits else [])}
    return [question for question in questions if question.record in names]


def answer(
    question: Question,
    values: Map,
    gains: npt.NDArray[np.floating],
    leads: Sequence[str],
    time: npt.NDArray[np.float64],
) -> dict[str, tuple[float, float]]:
    """Return what a map answers to a question: by metric the value, and the value of chance.

    Parameters
    ----------
    values : (L, T)
        The map on the scale ``evidence``: leads weighted by their positive gain.
    gains : (L,)
        Gain of each lead.
    leads, time : L names, (T,)
        Rows and columns; s from the start of the recording.

    Returns
    -------
    dict
        Empty where the question does not fit the map: a range outside the window, or fewer than two of the leads.
    """
    right = np.array(question.right)
    if question.kind == RANGE:
        rows = [row for row, lead in enumerate(leads) if not question.leads or lead in question.leads]
        columns = [(time >= start) & (time <= stop) for start, stop in question.options]
        if not rows or not all(column.any() for column in columns):
            return {}
        course = np.maximum(values[rows], 0.0).sum(axis=0)
        means = np.array([course[column].mean() for column in columns])
        return {"range": (float(right[means == means.max()].mean()), float(right.mean()))}
    rows = [leads.index(lead) if lead in leads else -1 for lead in question.options]
    known = np.array(rows) >= 0
    chosen, right = np.asarray(gains)[[row for row in rows if row >= 0]], right[known]
    if right.all() or not right.any():
        return {}
    above = chosen[right][:, None] - chosen[~right][None]
    auc = float(((above > 0) + 0.5 * (above == 0)).mean())
    return {"lead auc": (auc, 0.5), "top lead": (float(right[chosen == chosen.max()].mean()), float(right.mean()))}


def question_rows(answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """Return a row for each method and metric: over all questions, then by criterion; intervals by patients drawn together.

    The column ``text`` is ``all``: a row covers the questions of every diagnosis.
    """
    gathered: dict[tuple[str, str | None, str, str, str], list[tuple[str, float, float]]] = {}
    for one in answers:
        for metric, (value, chance) in one.values.items():
            for criterion in (ALL, one.question.criterion):
                key = (one.method, one.layer, one.mask, metric, criterion)
                gathered.setdefault(key, []).append((one.question.patient, value, chance))
    kinds = {name: kind for name, kind, _ in METRICS}
    rows = []
    for (method, layer, mask, metric, criterion), several in gathered.items():
        patients, values, chances = zip(*several, strict=True)
        mean, low, high = cluster_means(np.array(values), patients)
        known = np.isfinite(low)
        rows.append({
            "text": ALL, "criterion": criterion, "kind": kinds[metric],
            "method": method, "layer": layer, "mask": mask, "metric": metric,
            "direction": "higher", "mean": round(mean, 6), "low": round(low, 6) if known else None,
            "high": round(high, 6) if known else None, "chance": round(float(np.mean(chances)), 6), "n": len(values),
        })  # fmt: skip
    return sorted(rows, key=lambda row: row["criterion"] != ALL)


def _questions(line: Mapping[str, Any], patients: Mapping[str, str]) -> list[Question]:
    record, text = str(line["ecg_id"]), str(line["dx"]).replace("_", " ")
    patient = str(patients.get(record, line.get("patient_id", record)))
    found = []
    for step in line["steps"]:
        if not step["finding"]:
            continue
        lead_questions = step.get("lead", [])
        shown = tuple(dict.fromkeys(lead for one in lead_questions for lead in one["answer"]))
        for kind, several, leads in ((LEAD, lead_questions, ()), (RANGE, step.get("wave", []), shown)):
            for one in several:
                right = tuple(option in one["answer"] for option in one["options"])
                options = tuple(_seconds(option) if kind == RANGE else str(option) for option in one["options"])
                if None in options:
                    continue
                criterion = str(step["criterion"])
                found.append(Question(record, patient, text, criterion, kind, options, right, leads))
    return found


def _seconds(option: str) -> tuple[float, float] | None:
    """Return start and stop of a range such as ``2.63-2.73``; None where it is not in seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", option)
    return (float(found[1]), float(found[2])) if found else None
