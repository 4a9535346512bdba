r"""Why does Grad-CAM fail on the two published networks? Ranges of criteria by masked leads, and by the window as it is.

    PYTHONPATH=FOLDER/OF/aime2024 python -m benchmarks.masking --data .cache/recordings/ptbxl --questions erb_ptbxl.jsonl \
        --page docs/evidence.md

`aime2024.py` holds the networks (Gumpfer et al. 2024) and their filters. Each layer's cells are computed twice: of every lead
alone, summed over the leads of the question by their gain, as ``--method grad-cam`` does; and of the whole window, one course
for all leads.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from benchmarks.page import put
from ecgcam.attribution.cells import upsample_to_samples
from ecgcam.attribution.hooks import activations_of, capture
from ecgcam.evidence.questions import Question, answer, read_questions
from ecgcam.models.own import own_model
from ecgcam.pipeline.engine import explain_windows
from ecgcam.pipeline.preparation import prepare
from ecgcam.pipeline.settings import Settings
from ecgcam.protocol.model import EcgTextModel
from ecgcam.protocol.spec import windows_of
from ecgcam.records import Record, Window, read_record

NETWORKS = {"lbbb": "complete left bundle branch block", "avb": "first degree av block"}
LAYERS = tuple(
    f"stages.{stage}{part}" for stage in range(5) for part in (".1", "")
)  # after the ELU, and after the pooling
WHOLE = ("whole: Grad-CAM", "whole: Grad-CAM of A - A_fill", "whole: HiResCAM")
MASKED = "leads alone: Grad-CAM"


def windows(
    networks: object, data: Path, model: EcgTextModel, questions: list[Question], filtered: bool
) -> dict[str, Window]:
    found = {}
    for name in dict.fromkeys(question.record for question in questions):
        number = int(name)
        record = read_record(data / f"records500/{number // 1000 * 1000:05d}/{number:05d}_hr.hea")
        if filtered:
            signal = networks.filtered(record.signal.astype(float))  # type: ignore[attr-defined]
            record = Record.from_array(signal.astype(np.float32), record.fs, record.leads, name=name)
        found[name] = next(iter(windows_of(record, model.input)))
    return found


def measured(
    model: EcgTextModel, target: str, cut: dict[str, Window], questions: list[Question]
) -> tuple[list[str], str]:
    """Rows of the table, and the scores in words."""
    direction = model.encode_text([target])
    values: dict[tuple[str, str], list[float]] = {}
    scores = []

    def asked(name: str, kind: tuple[str, str], course: np.ndarray, gains: np.ndarray) -> None:
        window = cut[name]
        for question in questions:
            if question.record == name and (found := answer(question, course, gains, window.leads, window.time)):
                values.setdefault(kind, []).append(found["range"][0])

    for layer in LAYERS:
        settings = Settings(layer=layer, gradient=None)
        for name, made in explain_windows(cut.items(), [target], model, settings):
            asked(name, (layer, MASKED), made.scaled_map("evidence"), made.gains)
            if layer == LAYERS[0]:
                scores.append([made.score, made.empty_score, float(made.lead_scores.max())])
        for name, window in cut.items():
            ready = prepare(window, model.input, Settings())
            x, fill = (torch.from_numpy(signal)[None] for signal in (ready.x, ready.fill))
            taken = capture(model, x, direction, layer)
            A, G = taken.activations, taken.gradients[0]
            weights, change = G.mean(dim=-1, keepdim=True), A - activations_of(model, fill, layer)
            kinds = zip(WHOLE, (weights * A, weights * change, G * A), strict=True)
            for kind, cells in kinds:
                course = upsample_to_samples(
                    cells.sum(dim=1).relu().numpy(), model.layer(layer)[1], window.signal.shape[1]
                )
                asked(name, (layer, kind), np.repeat(course, len(window.leads), axis=0), np.ones(len(window.leads)))
    rows = [
        f"| {layer} | {' | '.join(f'{np.mean(values[layer, kind]):.2f}' for kind in (MASKED, *WHOLE))} |"
        for layer in LAYERS
    ]
    whole, empty, alone = np.median(scores, axis=0)
    return rows, f"Median score {whole:+.1f}; with every lead filled {empty:+.1f}; of the best lead alone {alone:+.1f}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--page", type=Path)
    args = parser.parse_args()
    networks = import_module("aime2024")
    lines = []
    for name, diagnosis in NETWORKS.items():
        model = own_model(getattr(networks, name)(), name, layer=",".join(LAYERS), targets=True)
        questions = [one for one in read_questions(args.questions) if one.text == diagnosis and one.kind == "range"]
        for filtered in (True, False):
            cut = windows(networks, args.data, model, questions, filtered)
            rows, scores = measured(model, name.upper(), cut, questions)
            state = "after its filters" if filtered else "without its filters"
            lines += [f"{name.upper()}, {state}: {len(questions)} questions. {scores}", ""]
            lines += [f"| layer | {MASKED} | {' | '.join(WHOLE)} |", "|---|---:|---:|---:|---:|", *rows, ""]
            print("\n".join(lines[-len(rows) - 5 :]), flush=True)
    if args.page is not None:
        put(args.page, "masking", "\n".join(lines).strip())


if __name__ == "__main__":
    main()
