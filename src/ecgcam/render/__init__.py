"""Pictures of an Explanation. Explanation in, Matplotlib Figure out; no torch, no pyplot, no global state."""

from ecgcam.render.average_beats import beats
from ecgcam.render.full_page import LAYOUTS, page
from ecgcam.render.lead_strip import strip
from ecgcam.render.output import pictures, save

__all__ = ["LAYOUTS", "beats", "page", "pictures", "save", "strip"]
