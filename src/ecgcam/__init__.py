"""ecgcam: which leads, and which moments, made an ECG-text model say so.

    import ecgcam

    model = ecgcam.load_model("mini")
    for explanation in ecgcam.explain("record.dat", ["atrial fibrillation"], model):
        print(explanation.leads[explanation.ranking[0]], explanation.score)
        explanation.save("out")

Names are imported when first used, so that reading and drawing never wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ecgcam._version import __version__

if TYPE_CHECKING:
    from ecgcam.errors import EcgcamError
    from ecgcam.explanation import Explanation
    from ecgcam.models.load import load_model
    from ecgcam.pipeline import explain, explain_many
    from ecgcam.records import Record, read_record

_HOMES = {
    "EcgcamError": "ecgcam.errors",
    "Explanation": "ecgcam.explanation",
    "Record": "ecgcam.records",
    "explain": "ecgcam.pipeline",
    "explain_many": "ecgcam.pipeline",
    "load_model": "ecgcam.models.load",
    "read_record": "ecgcam.records",
}

__all__ = [
    "EcgcamError",
    "Explanation",
    "Record",
    "__version__",
    "explain",
    "explain_many",
    "load_model",
    "read_record",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ecgcam' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
