"""The report: one HTML file with everything in it, for reading explanations on a screen or on paper. No torch, no network."""

from ecgcam.render.report.call import make_report
from ecgcam.render.report.document import MOST, report_html, write_report
from ecgcam.render.report.judgements import read_judgements

__all__ = ["MOST", "make_report", "read_judgements", "report_html", "write_report"]
