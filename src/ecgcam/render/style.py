"""Matplotlib as it is delivered: a matplotlibrc, in the folder that one stands in or at home, is for other pictures than ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib


@contextmanager
def as_delivered() -> Iterator[None]:
    """Draw with Matplotlib's own settings, and leave the user's as they were; also a decorator."""
    if _unchanged():  # to set them takes longer than many a picture
        yield
        return
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def _unchanged() -> bool:
    now, own = matplotlib.rcParams, matplotlib.rcParamsDefault
    return all(dict.__getitem__(now, key) == value for key, value in dict.items(own) if key != "backend")
