"""One call of `evaluate` over recordings: what the journal has is taken from there, the rest is evaluated."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgcam.errors import EcgcamError, check_choice
from ecgcam.evidence import METRIC_GROUPS
from ecgcam.files import atomic, check_writable, writing
from ecgcam.pipeline.settings import Settings
from ecgcam.results.explanation import SCALES
from ecgcam.runs.engine import run_in_processes, workers_for
from ecgcam.runs.evaluate_task import EvaluateTask
from ecgcam.runs.events import Evaluated, Event
from ecgcam.runs.journal import EVALUATE, Journal, read
from ecgcam.runs.model_options import ModelOptions
from ecgcam.runs.reading import Reading
from ecgcam.runs.spec import RunSpec, name_of_difference
from ecgcam.runs.spec import difference as spec_difference
from ecgcam.runs.worklist import Failure, Item, find_recordings

if TYPE_CHECKING:
    from ecgcam.evidence.questions import Question
    from ecgcam.evidence.truths import Annotations

TABLE = "evidence.jsonl"
# Fewer recordings are evaluated before other processes have loaded the model.
_FEW = 4
_QUESTION_KEYS = {"record", "patient", "text", "criterion", "kind", "options", "right", "leads"}
_QUESTION_METRICS = {"range", "lead auc", "top lead"}


@dataclass
class EvaluateCall:
    """What to evaluate, by what, and where figures go.

    Attributes
    ----------
    records, prompts : sequence of str, list of str
        Files and folders; texts or targets.
    options, reading : ModelOptions, Reading
        The model, the windows.
    methods, layers, masks : sequence of str
        What is evaluated, each method with each layer and mask. No methods: what the model's calibration chose, or Grad-CAM.
        A layer or a mask None is the model's.
    groups, scale, tile_ms, randomisations, seed
        Which metrics, and how (`ecgcam.runs.evaluation.EvaluationConfig`).
    truth : Path, Annotations, optional
        Where the findings are known to be: a folder, or marks of WFDB annotation files.
    questions : Path, optional
        Questions that maps answer in place of the metrics; they state the prompts. For a classifier, `prompts` are outputs:
        ``OUTPUT=DIAGNOSIS``, or an output whose label names the diagnosis.
    all_metrics : bool
        Whether more than the headline metrics are measured.
    """

    records: Sequence[str]
    prompts: list[str]
    options: ModelOptions
    reading: Reading
    methods: Sequence[str] = ()
    layers: Sequence[str | None] = (None,)
    masks: Sequence[str | None] = (None,)
    groups: Sequence[str] = METRIC_GROUPS
    how: Mapping[str, Any] = field(default_factory=dict)  # scale, tile_ms, randomisations, seed
    truth: Path | Annotations | None = None
    questions: Path | None = None
    all_metrics: bool = False
    out: Path | None = None
    jobs: int | None = None
    stdin: Iterable[str] | None = None

    def check(self) -> None:
        """Raise `EcgcamError` if anything is wrong that can be seen without torch, before anything is written."""
        from ecgcam.attribution.methods import method_named
        from ecgcam.evidence.edits import check_tile

        check_choice("scale", self._how("scale"), SCALES)
        for group in self.groups:
            check_choice("what", group, METRIC_GROUPS)
        check_tile(self._how("tile_ms"))
        self.options.check()
        for name in self.methods:
            method_named(name)
        self.reading.check_values()
        if self.questions is not None and self.prompts and not self.options.targets:
            raise EcgcamError("`questions` and `texts`: the prompts of questions are their diagnoses; give one of them")
        if self.questions is not None and self.truth is not None:
            raise EcgcamError("`questions`: contain their own answers; leave out `truth` and `annotations`")
        _ = self.question_list
        if isinstance(self.truth, Path) and not self.truth.is_dir():
            raise EcgcamError(f"{self.truth}: no such folder; `truth` takes the folder of NAME-truth.npz files")
        if len(self.items) == 1:
            self.reading.check(self.items[0], self.options.spec.input)
        if self.out is not None:
            check_writable(self.out)
        self._calibrate()
        for trial in self.trials:
            Settings(method=trial[0], layer=trial[1], mask=trial[2]).check(self.options.spec)

    def _calibrate(self) -> None:
        """Let the model's calibration choose what the caller left open, and place the layers of an own network."""
        given = {"method": bool(self.methods), "layer": any(self.layers), "mask": any(self.masks)}
        chosen = self.options.calibrated(Settings(), frozenset(name for name, there in given.items() if there))
        self.methods = self.methods or [chosen.method]
        self.layers = self.layers if given["layer"] else [chosen.layer]
        self.masks = self.masks if given["mask"] else [chosen.mask]
        if self.options.own and any(self.layers):
            from ecgcam.models.own_layers import declare_layers

            for layer in self.layers:
                declare_layers(self.options.loaded, layer or "")

    @property
    def trials(self) -> list[tuple[str, str | None, str | None]]:
        """Method, layer and mask of each trial; methods that look at no layer have one for all of them."""
        from ecgcam.attribution.methods import method_named

        found = []
        for mask in self.masks:
            for layer in self.layers:
                for name in self.methods:
                    method = method_named(name)
                    looks = method.family != "signal" or "activations" in method.needs
                    found.append((name, layer if looks else None, mask))
        return list(dict.fromkeys(found))

    def _how(self, name: str) -> Any:
        return self.how.get(name, {"scale": "evidence", "tile_ms": 80.0, "randomisations": 1, "seed": 0}[name])

    @cached_property
    def items(self) -> list[Item]:
        """The recordings."""
        return find_recordings(self.records, self.stdin)

    @cached_property
    def question_list(self) -> tuple[Question, ...]:
        """The questions that maps answer; none without `questions`."""
        from ecgcam.evidence.questions import read_questions

        if self.questions is None:
            return ()
        found = read_questions(self.questions)
        return tuple(_of_outputs(found, self.prompts) if self.options.targets else found)

    @cached_property
    def spec(self) -> RunSpec:
        """What is asked of each recording."""
        source = self.options.spec
        settings = {
            "methods": list(self.methods),
            "layers": [layer or source.layer for layer in self.layers],
            "masks": [mask or source.input.fill for mask in self.masks],
            "groups": list(self.groups),
            **{name: self._how(name) for name in ("scale", "tile_ms", "randomisations", "seed")},
            "all_metrics": self.all_metrics,
            "truth": self._truth_identity(),
        }
        if self.questions is not None:
            settings["questions"] = hashlib.sha256(self.questions.read_bytes()).hexdigest()[:16]
        windows = self.reading.identity(source.input)
        return RunSpec(self.options.ref, "\n".join(self.prompts), None, settings, windows)

    def _truth_identity(self) -> Any:
        if self.truth is None or isinstance(self.truth, Path):
            return None if self.truth is None else self.truth.name
        return [self.truth.extension, *self.truth.symbols]

    def _content(self, item: Item) -> str:
        """Return what identifies what the figures of a recording depend on: its samples, its truth, its name in questions."""
        from ecgcam.evidence.truths import find_truth

        content = self.reading.content_sha256(item.path)
        if self.questions is not None:
            return f"{content} {item.name}"
        if self.out is None or "localisation" not in self.groups:
            return content
        marks = self.truth
        truth = find_truth(item.path, marks) if marks is None or isinstance(marks, Path) else marks.read(item.path)
        if truth is None:
            return content
        digest = hashlib.sha256(f"{truth.leads} {truth.fs:.9g} {truth.mask.shape}".encode())
        for mask in (truth.mask, truth.known):
            digest.update(b"" if mask is None else mask.tobytes())
        return f"{content} {digest.hexdigest()}"

    def events(self) -> Generator[Event, None, None]:
        """Run it; yield each recording's figures, in the order of recordings, when they are in the journal."""
        path = None if self.out is None else self.out / EVALUATE
        journal, known = Journal(path), known_entries(path)
        fingerprints: dict[str, str] = {}
        left: list[Item] = []
        for item in self.items:
            try:
                fingerprints[item.name] = self.spec.fingerprint(self._content(item))
            except EcgcamError as error:
                yield Failure(item, error)
                continue
            entries = known.get(fingerprints[item.name])
            if entries is None:
                left.append(item)
            else:
                # A recording may have had another name.
                named = [entry | {"record": item.name} if "record" in entry else entry for entry in entries]
                yield Evaluated(item, named, [])
        if not left:
            return
        device = self.options.device
        jobs = 1 if self.options.own and self.options.model is None else self.jobs
        if jobs is None and (len(left) < _FEW or device not in {"auto", "cpu"}):
            jobs = 1
        count = workers_for(len(left), jobs, pictures=True)
        task = self.task
        events = run_in_processes(task, left, count, size=1) if count > 1 else task.run(left)
        for event in events:
            if isinstance(event, Evaluated):
                journal.add_spec(self.spec.to_json(), self.spec.fingerprint())
                fingerprint = fingerprints[event.item.name]
                journal.add({"record": event.item.name, "entries": event.entries, "fingerprint": fingerprint})
            yield event

    @cached_property
    def task(self) -> EvaluateTask:
        """What is done with each recording."""
        from ecgcam.runs.evaluation import EvaluationConfig, MethodConfig

        methods = tuple(MethodConfig(name, mask, layer) for name, layer, mask in self.trials)
        config = EvaluationConfig(
            tuple(self.groups),
            self._how("scale"),
            self._how("tile_ms"),
            self._how("randomisations"),
            all_metrics=self.all_metrics,
        )
        folder = self.truth if isinstance(self.truth, Path) else None
        marks = None if folder is not None or self.truth is None else self.truth
        settings = Settings(seed=self._how("seed"))
        return EvaluateTask(
            self.options, tuple(self.prompts), methods, config, settings, self.reading, folder,
            marks,  # type: ignore[arg-type]  # no Path here
            self.question_list,
        )  # fmt: skip

    def rows(self, entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows of the table of these figures or answers."""
        from ecgcam.evidence.questions import Answer, Question, question_rows
        from ecgcam.runs.evaluation import Entry, mean_rows

        if self.questions is None:
            return mean_rows(Entry(**entry) for entry in entries)
        return question_rows(Answer(**{**entry, "question": Question(**entry["question"])}) for entry in entries)

    def write_table(self, rows: Sequence[Mapping[str, Any]]) -> Path | None:
        """Write the rows; the first question of a folder has ``evidence.jsonl``, others a name that states what differs."""
        if self.out is None:
            return None
        specs = [line["spec"] for line in read(self.out / EVALUATE) if isinstance(line.get("spec"), dict)]
        name = TABLE
        if specs and not self.spec.is_same_question(specs[0]):
            differences = [name_of_difference(spec_difference(spec, specs[0])) for spec in specs]
            own = self.spec.name_of_difference(specs[0])
            first = next((spec for spec, other in zip(specs, differences, strict=True) if other == own), None)
            if first is not None and not self.spec.is_same_question(first):  # such as a prompt in capitals
                own += f"+{self.spec.fingerprint()[:8]}"
            name = f"evidence+{own}.jsonl"
        with writing(self.out / name), atomic(self.out / name) as path:
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        _write_csv((self.out / name).with_suffix(".csv"), rows)
        return self.out / name

    def write_conclusions(self, entries: Iterable[dict[str, Any]], table: Path | None) -> Path | None:
        """Write what the figures show of each method as CSV, next to the table; nothing where there is nothing to compare."""
        from ecgcam.runs.conclusions import conclusion_rows, draw_conclusions
        from ecgcam.runs.evaluation import Entry

        if table is None or self.questions is not None:
            return None
        rows = conclusion_rows(draw_conclusions(Entry(**entry) for entry in entries))
        if not rows:
            return None
        path = table.with_name(table.name.replace("evidence", "conclusions", 1)).with_suffix(".csv")
        _write_csv(path, rows)
        return path


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of the same keys as CSV; None is an empty field."""
    with writing(path), atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        table.writeheader()
        table.writerows(rows)


def _of_outputs(questions: Sequence[Question], outputs: Sequence[str]) -> list[Question]:
    """Return the questions whose diagnosis an output stands for, each with the output in place of the prompt."""
    from ecgcam.models.text.vocabulary import findings_named

    found = []
    for output in outputs:
        label, given, diagnosis = (part.strip() for part in output.partition("="))
        wanted = diagnosis if given else label
        names = set(findings_named(wanted))
        mine = [
            one
            for one in questions
            if one.text.casefold() == wanted.casefold() or names & set(findings_named(one.text))
        ]
        if not mine:
            known = ", ".join(dict.fromkeys(one.text for one in questions))
            raise EcgcamError(
                f"`targets` {output}: no question is about it; write OUTPUT=DIAGNOSIS with one of {known}"
            )
        found += [replace(one, text=label) for one in mine]
    return found


def known_entries(path: Path | None) -> dict[str, list[dict[str, Any]]]:
    """Return the figures that a journal holds, by fingerprint; damaged lines are skipped."""
    if path is None:
        return {}
    return {line["fingerprint"]: line["entries"] for line in read(path) if _is_entry(line)}


def _is_entry(line: Mapping[str, Any]) -> bool:
    """Whether a line of a journal holds figures that can be taken over."""
    entries = line.get("entries")
    known = isinstance(entries, list) and all(_is_figures(entry) or _is_answer(entry) for entry in entries)
    return known and "fingerprint" in line


def _is_answer(found: Any) -> bool:
    """Whether it is an answer to a question, as `EvaluateTask` yields it."""
    if not isinstance(found, dict) or found.keys() != {"question", "method", "layer", "mask", "values"}:
        return False
    question, values = found["question"], found["values"]
    if not isinstance(question, dict) or question.keys() != _QUESTION_KEYS or not isinstance(values, dict):
        return False
    if not all(isinstance(question[key], str) for key in ("patient", "criterion")):
        return False
    if not (
        isinstance(found["layer"], str | None) and isinstance(found["method"], str) and isinstance(found["mask"], str)
    ):
        return False
    return values.keys() <= _QUESTION_METRICS and all(_is_pair(pair) for pair in values.values())


def _is_pair(found: Any) -> bool:
    """Whether it is a value and the value of chance."""
    return isinstance(found, list) and len(found) == 2 and all(isinstance(one, float | int) for one in found)


def _is_figures(found: Any) -> bool:
    texts = ("record", "text", "method", "mask")
    if not isinstance(found, dict) or found.keys() != {*texts, "layer", "start", "values", "chances"}:
        return False
    if not isinstance(found["layer"], str | None):
        return False
    if not all(isinstance(found[key], str) for key in texts):
        return False
    values, chances = found["values"], found["chances"]
    if not isinstance(values, dict) or not isinstance(chances, dict):
        return False
    numbers = [found["start"], *values.values(), *chances.values()]
    return all(isinstance(one, float) or (type(one) is int and abs(one) < 1e300) for one in numbers)
