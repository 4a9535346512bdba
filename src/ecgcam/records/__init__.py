"""A file in, a Record in millivolts out. Nothing here imports torch."""

from typing import TYPE_CHECKING

from ecgcam.records.readers import read_record
from ecgcam.records.record import CANONICAL_LEADS, Record, canonical_name, parse_lead_names
from ecgcam.records.windows import Window, take_window, window_starts
from ecgcam.resources import lazy_submodules

__all__ = [
    "CANONICAL_LEADS",
    "Record",
    "Window",
    "canonical_name",
    "parse_lead_names",
    "read_record",
    "take_window",
    "window_starts",
]

if not TYPE_CHECKING:  # type checkers would take any name for one of the package
    __getattr__ = lazy_submodules(__name__)
