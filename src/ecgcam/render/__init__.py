"""Pictures of an Explanation. Explanation in, Matplotlib Figure out; no torch, no pyplot, no global state."""

from ecgcam.render.average_beats import beats
from ecgcam.render.boxes import load_boxes
from ecgcam.render.full_page import LAYOUTS, page
from ecgcam.render.lead_strip import strip
from ecgcam.render.output import pictures, save
from ecgcam.render.scan import onto_scan
from ecgcam.render.time_strip import timeline_strip

__all__ = ["LAYOUTS", "beats", "load_boxes", "onto_scan", "page", "pictures", "save", "strip", "timeline_strip"]
