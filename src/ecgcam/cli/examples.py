"""Examples of each command. `--help`, SKILL.md and llms.txt show them; a test runs them in order in an empty folder."""

from __future__ import annotations

from typing import NamedTuple


class Example(NamedTuple):
    """A call and what it does; `given` states that it needs a file that ecgcam does not bring or make."""

    what: str
    call: str
    given: bool = False


# By command, in an order in which they run: what an example reads, an earlier one has written.
EXAMPLES: dict[str, tuple[Example, ...]] = {
    "": (
        Example("Simulate a recording.", "ecgcam simulate af --seed 7 --out demo"),
        Example("Explain it.", 'ecgcam explain demo/af-7.dat --text "atrial fibrillation"'),
    ),
    "simulate": (
        Example(
            "Atrial fibrillation, its twin without the finding, and where the finding is.",
            "ecgcam simulate af --seed 7 --out demo",
        ),
        Example("Q waves of an inferior infarction.", "ecgcam simulate q-waves --set wall=inferior --out demo"),
    ),
    "explain": (
        Example(
            "One recording, one prompt; pictures and arrays go to ecgcam-out/.",
            'ecgcam explain demo/af-7.dat --text "atrial fibrillation"',
        ),
        Example(
            "All recordings of a folder, another method, PDF pages.",
            'ecgcam explain demo --text "atrial fibrillation" --method dot-grad-cam --format pdf --out results',
        ),
    ),
    "score": (
        Example("Rank the findings of the vocabulary.", "ecgcam score demo/af-7.dat"),
        Example(
            "Only these prompts, as JSON.",
            'ecgcam score demo --text "atrial fibrillation" --text "sinus rhythm" --json',
        ),
    ),
    "measure": (
        Example("Rate, intervals, waves and criteria of one recording.", "ecgcam measure demo/af-7.dat"),
        Example("All recordings of a folder, as a table.", "ecgcam measure demo --csv > measurements.csv"),
    ),
    "evaluate": (
        Example(
            "Two methods against a random map.",
            'ecgcam evaluate demo/af-7.dat --text "atrial fibrillation" --methods grad-cam,dot-grad-cam',
        ),
        Example(
            "Faithfulness alone; the table is also written to a folder.",
            'ecgcam evaluate demo/af-7.dat --text "atrial fibrillation" --what faithfulness --out evidence',
        ),
    ),
    "inspect": (
        Example("What ecgcam reads from one recording.", "ecgcam inspect demo/af-7.dat"),
        Example("One line for each recording of a folder.", "ecgcam inspect demo"),
    ),
    "draw": (
        Example("Draw existing results again, with waves.", "ecgcam draw ecgcam-out --layout 12x1 --waves"),
        Example("Several results in one figure.", "ecgcam draw ecgcam-out results --together figure.pdf"),
    ),
    "report": (
        Example("One HTML file of all results in a folder.", "ecgcam report ecgcam-out"),
        Example("At most 20 results, to a file of your choice.", "ecgcam report results --most 20 --out results.html"),
    ),
    "summarize": (
        Example("Mean lead gains and mean beats of all recordings.", "ecgcam summarize results"),
        Example("Two folders of results, compared by method.", "ecgcam summarize ecgcam-out results --out compared"),
    ),
    "overlay": (
        Example(
            "Maps on a scanned page whose leads lie in two columns.",
            "ecgcam overlay scan.png ecgcam-out/af-7/atrial-fibrillation --out overlay.png",
            given=True,
        ),
        Example(
            "Another layout of the page, as PDF.",
            "ecgcam overlay scan.png ecgcam-out/af-7/atrial-fibrillation --boxes 3x4 --out overlay.pdf",
            given=True,
        ),
    ),
    "embed": (
        Example(
            "A table of embedded prompts, one prompt per line in prompts.txt.",
            "ecgcam embed --text-file prompts.txt --out mini.npz",
            given=True,
        ),
        Example(
            "The same for MERL, whose text tower comes from the hub.",
            "ecgcam embed --model merl-resnet18 --checkpoint merl.pth --text-file prompts.txt --out merl.npz",
            given=True,
        ),
    ),
    "methods": (
        Example("What each method shows.", "ecgcam methods"),
        Example("Formula, options and limits of one method.", "ecgcam methods dot-grad-cam"),
    ),
    "models": (
        Example("The bundled model files.", "ecgcam models list"),
        Example("Input, layers and licence of one model.", "ecgcam models show mini"),
    ),
    "models list": (
        Example("Names, families and sources.", "ecgcam models list"),
        Example("The same as JSON.", "ecgcam models list --json"),
    ),
    "models show": (
        Example("Input, layers and licence.", "ecgcam models show mini"),
        Example("The shape of each layer's output.", "ecgcam models show merl-resnet18 --layers"),
    ),
    "models check": (
        Example("Which model file fits a checkpoint.", "ecgcam models check weights.pt", given=True),
        Example("The same, for one model file.", "ecgcam models check weights.pt --model merl-resnet18", given=True),
    ),
    "models calibrate": (
        Example(
            "Choose method, layer and mask for a classifier of your own.",
            "ecgcam models calibrate --model my_model:load --target LBBB",
            given=True,
        ),
        Example(
            "The same for a checkpoint, also on recordings.",
            "ecgcam models calibrate recordings --checkpoint weights.pt",
            given=True,
        ),
    ),
    "docs": (
        Example("The pages that come with ecgcam.", "ecgcam docs"),
        Example("One page.", "ecgcam docs own-model"),
    ),
}

# What each command does, in the list of commands.
SUMMARIES = {
    "explain": "Show which leads and moments made a model match a text.",
    "score": "Rank prompts by their similarity to recordings.",
    "embed": "Write a table of embedded prompts.",
    "evaluate": "Evaluate whether the maps are true.",
    "inspect": "Show what is read of recordings; no model.",
    "measure": "Measure rate, intervals and waves; no model.",
    "draw": "Draw results again, without the model.",
    "report": "Write one HTML file on results.",
    "overlay": "Draw maps over a scanned page.",
    "summarize": "Summarize the results of many recordings.",
    "simulate": "Simulate a recording with a known finding.",
    "methods": "List the attribution methods, or describe one.",
    "models": "List, show, check and calibrate models.",
    "docs": "Print a page of the documentation.",
}
