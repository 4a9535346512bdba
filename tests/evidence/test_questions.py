"""Questions of lead and time range, answered by maps whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ecgcam.errors import EcgcamError
from ecgcam.evidence.questions import Answer, Question, answer, question_rows, questions_about, read_questions

LEADS = ("I", "II", "V1")
TIME = np.arange(100) / 10
RANGES = ((1.0, 1.9), (4.0, 4.9), (7.0, 7.9))
LINE = {
    "ecg_id": 118, "dx": "anterior_ischemia", "label": True, "steps": [
        {"criterion": "ST depression", "finding": True,
         "lead": [{"options": ["I", "II", "V1"], "answer": ["V1"]}],
         "wave": [{"options": ["1.0-1.9", "4.0-4.9", "7.0-7.9"], "answer": ["4.0-4.9"]}]},
        {"criterion": "inverted T", "finding": False, "wave": [{"options": ["1.0-1.9", "4.0-4.9"], "answer": ["1.0-1.9"]}]},
        {"criterion": "dropped beats", "finding": True,
         "wave": [{"options": ["1st QRS-2nd QRS", "4.0-4.9"], "answer": ["4.0-4.9"]}]},
    ],
}  # fmt: skip


def asked(kind: str = "range", right: tuple[bool, ...] = (False, True, False), leads: tuple[str, ...] = ()) -> Question:
    return Question("118", "118", "a", "c", kind, RANGES if kind == "range" else LEADS, right, leads)


def peaks(**where: float) -> np.ndarray:
    """A map with a value of 1 at these times, by lead."""
    values = np.zeros((3, 100))
    for lead, time in where.items():
        values[LEADS.index(lead), round(10 * time)] = 1.0
    return values


def test_the_range_of_the_highest_mean_is_the_answer() -> None:
    gains = np.zeros(3)
    assert answer(asked(), peaks(I=4.5), gains, LEADS, TIME) == {"range": (1.0, pytest.approx(1 / 3))}
    assert answer(asked(), peaks(I=1.5), gains, LEADS, TIME)["range"][0] == 0.0
    # A longer range has a lower mean for the same mass.
    longer = Question("118", "118", "a", "c", "range", ((1.0, 3.9), (4.0, 4.9)), (False, True))
    assert answer(longer, peaks(I=2.0, II=4.5), gains, LEADS, TIME)["range"][0] == 1.0
    assert answer(asked(), np.zeros((3, 100)), gains, LEADS, TIME)["range"][0] == pytest.approx(1 / 3)  # ties share


def test_only_the_leads_that_show_the_criterion_count() -> None:
    values = peaks(I=1.5, V1=4.5)
    values[0] *= 2
    assert answer(asked(), values, np.zeros(3), LEADS, TIME)["range"][0] == 0.0
    assert answer(asked(leads=("V1",)), values, np.zeros(3), LEADS, TIME)["range"][0] == 1.0
    assert answer(asked(leads=("V6",)), values, np.zeros(3), LEADS, TIME) == {}


def test_leads_are_ranked_by_gain() -> None:
    blank = np.zeros((3, 100))
    found = answer(asked("lead", (False, False, True)), blank, np.array([0.1, 0.4, 0.3]), LEADS, TIME)
    assert found == {"lead auc": (0.5, 0.5), "top lead": (0.0, pytest.approx(1 / 3))}
    found = answer(asked("lead", (False, True, True)), blank, np.array([0.1, 0.4, 0.1]), LEADS, TIME)
    assert found == {"lead auc": (0.75, 0.5), "top lead": (1.0, pytest.approx(2 / 3))}
    # A recording without V1: the two other leads are left, one right and one wrong.
    found = answer(asked("lead", (False, True, True)), blank[:2], np.array([0.1, 0.4]), LEADS[:2], TIME)
    assert found["lead auc"] == (1.0, 0.5)
    assert answer(asked("lead", (False, False, True)), blank[:2], np.array([0.1, 0.4]), LEADS[:2], TIME) == {}


def test_a_range_outside_the_window_is_not_answered() -> None:
    assert answer(asked(), peaks(I=4.5)[:, :60], np.zeros(3), LEADS, TIME[:60]) == {}


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    absent = {**LINE, "label": False}
    path.write_text("\n".join(json.dumps(line) for line in (LINE, absent)) + "\n")
    lead, wave = read_questions(path)
    assert (lead.kind, lead.options, lead.right) == ("lead", ("I", "II", "V1"), (False, False, True))
    assert (wave.kind, wave.options, wave.right) == ("range", RANGES, (False, True, False))
    assert wave.leads == ("V1",)
    assert (wave.text, wave.record, wave.patient) == ("anterior ischemia", "118", "118")
    assert read_questions(path, {"118": "7"})[0].patient == "7"
    assert questions_about("records500/00000/00118_hr", [lead, wave]) == [lead, wave]
    assert questions_about("118", [lead]) == [lead]
    assert questions_about("01180_hr", [lead]) == []
    for text, said in (("{}", "line 1 is not a question"), ("nonsense", "JSON"), (json.dumps(absent), "no question")):
        path.write_text(text)
        with pytest.raises(EcgcamError, match=said):
            read_questions(path)


def test_rows_have_intervals_by_patient() -> None:
    def of(patient: str, criterion: str, value: float) -> Answer:
        question = Question("1", patient, "a", criterion, "range", RANGES, (False, True, False))
        return Answer(question, "grad-cam", None, "zero", {"range": (value, 1 / 3)})

    answers = [of("a", "ST", 0.0), of("a", "ST", 0.0), of("a", "T", 0.0), of("b", "T", 1.0)]
    whole, st, t = question_rows(answers)
    assert (whole["criterion"], whole["n"], whole["mean"], whole["low"], whole["high"]) == ("all", 4, 0.25, 0.0, 1.0)
    assert (st["criterion"], st["n"], st["mean"], st["low"]) == ("ST", 2, 0.0, None)  # one patient has no interval
    assert (t["criterion"], t["mean"], t["chance"], t["kind"]) == ("T", 0.5, pytest.approx(1 / 3, abs=1e-6), "range")
