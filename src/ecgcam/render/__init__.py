"""Pictures of an Explanation. Explanation in, Matplotlib Figure out; no torch, no pyplot, no global state."""

from typing import TYPE_CHECKING

from ecgcam.render.average_beats import beats
from ecgcam.render.boxes import load_boxes
from ecgcam.render.captions import caption
from ecgcam.render.folder import write_pictures
from ecgcam.render.full_page import page
from ecgcam.render.lead_strip import strip
from ecgcam.render.output import pictures, save
from ecgcam.render.panels import LAYOUTS
from ecgcam.render.scan import onto_scan
from ecgcam.render.several import together
from ecgcam.render.style import PictureOptions
from ecgcam.render.time_strip import timeline_strip
from ecgcam.resources import lazy_submodules
from ecgcam.results.trace import Trace

__all__ = [
    "LAYOUTS",
    "PictureOptions",
    "Trace",
    "beats",
    "caption",
    "load_boxes",
    "onto_scan",
    "page",
    "pictures",
    "save",
    "strip",
    "timeline_strip",
    "together",
    "write_pictures",
]

if not TYPE_CHECKING:  # type checkers would take any name for one of the package
    __getattr__ = lazy_submodules(__name__)
