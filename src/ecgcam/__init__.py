"""ecgcam: which leads, and which moments, made a model match an ECG with a text.

    import ecgcam

    explanation = ecgcam.explain("record.dat", "atrial fibrillation")[0]
    print(explanation)
    explanation.plot().savefig("page.png")

Names are imported when first used, so that reading and drawing never wait for torch. Submodules are reachable in the same way:
``ecgcam.models.checkpoint.read_state`` works after ``import ecgcam`` alone. Notes are warnings of the class `EcgcamWarning`;
nothing is printed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ecgcam._version import __version__
from ecgcam.errors import EcgcamError, EcgcamWarning, NotesAsWarnings
from ecgcam.resources import lazy_submodules

if TYPE_CHECKING:
    from ecgcam import attribution as attribution
    from ecgcam import models as models
    from ecgcam import records as records
    from ecgcam import render as render
    from ecgcam import results as results
    from ecgcam.cohort.summary import Summary, summarize
    from ecgcam.models.load import load_model
    from ecgcam.models.own import own_model
    from ecgcam.models.text.vocabulary import split_sentences
    from ecgcam.pipeline.tensors import MapTensors
    from ecgcam.protocol.model import EcgTextModel
    from ecgcam.protocol.spec import InputSpec, LayerSpec
    from ecgcam.records import Record, read_record
    from ecgcam.records.inspection import inspect
    from ecgcam.records.measurements import Measurements, measure
    from ecgcam.render.report import make_report as report
    from ecgcam.results.comparison import MapComparison, compare
    from ecgcam.results.explanation import Explanation
    from ecgcam.runs.api import explain, explain_many, map_tensors, score
    from ecgcam.runs.calibrate_call import calibrate
    from ecgcam.runs.calibration import Calibration
    from ecgcam.runs.calls import RunReport, evaluate, run

_HOMES = {
    "Calibration": "ecgcam.runs.calibration",
    "calibrate": "ecgcam.runs.calibrate_call",
    "EcgTextModel": "ecgcam.protocol.model",
    "Explanation": "ecgcam.results.explanation",
    "InputSpec": "ecgcam.protocol.spec",
    "LayerSpec": "ecgcam.protocol.spec",
    "MapComparison": "ecgcam.results.comparison",
    "MapTensors": "ecgcam.pipeline.tensors",
    "Measurements": "ecgcam.records.measurements",
    "Record": "ecgcam.records",
    "RunReport": "ecgcam.runs.calls",
    "Summary": "ecgcam.cohort.summary",
    "compare": "ecgcam.results.comparison",
    "evaluate": "ecgcam.runs.calls",
    "explain": "ecgcam.runs.api",
    "explain_many": "ecgcam.runs.api",
    "inspect": "ecgcam.records.inspection",
    "load_model": "ecgcam.models.load",
    "map_tensors": "ecgcam.runs.api",
    "measure": "ecgcam.records.measurements",
    "own_model": "ecgcam.models.own",
    "read_record": "ecgcam.records",
    "report": "ecgcam.render.report:make_report",
    "run": "ecgcam.runs.calls",
    "score": "ecgcam.runs.api",
    "split_sentences": "ecgcam.models.text.vocabulary",
    "summarize": "ecgcam.cohort.summary",
}

__all__ = [
    "Calibration",
    "EcgTextModel",
    "EcgcamError",
    "EcgcamWarning",
    "Explanation",
    "InputSpec",
    "LayerSpec",
    "MapComparison",
    "MapTensors",
    "Measurements",
    "Record",
    "RunReport",
    "Summary",
    "__version__",
    "calibrate",
    "compare",
    "evaluate",
    "explain",
    "explain_many",
    "inspect",
    "load_model",
    "map_tensors",
    "measure",
    "own_model",
    "read_record",
    "report",
    "run",
    "score",
    "split_sentences",
    "summarize",
]

NotesAsWarnings.install()
_submodule = lazy_submodules(__name__)


if not TYPE_CHECKING:  # type checkers would take any name for one of the package

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            return _submodule(name)
        module, _, function = _HOMES[name].partition(":")
        return getattr(import_module(module), function or name)


def __dir__() -> list[str]:
    return __all__
