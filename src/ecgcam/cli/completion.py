"""What the shell completes: names of models, methods, masks and the like. Each is called with the word so far."""

from __future__ import annotations

from collections.abc import Iterable


def complete_model(incomplete: str) -> list[str]:
    """Return the names of bundled models."""
    from ecgcam.models.model_file import model_names

    return _starting(model_names(), incomplete)


def complete_method(incomplete: str) -> list[str]:
    """Return the names of attribution methods."""
    from ecgcam.attribution.methods import METHODS

    return _starting(METHODS, incomplete)


def complete_mask(incomplete: str) -> list[str]:
    """Return the names of what may fill a masked lead."""
    from ecgcam.attribution.masking import FILLS

    return _starting([*FILLS, "none"], incomplete)


def complete_smoother(incomplete: str) -> list[str]:
    """Return the names of smoothers."""
    from ecgcam.attribution.smoothing import SMOOTHERS

    return _starting(SMOOTHERS, incomplete)


def complete_device(incomplete: str) -> list[str]:
    """Return the names of devices."""
    return _starting(["auto", "cpu", "cuda", "cuda:1", "mps"], incomplete)


def complete_finding(incomplete: str) -> list[str]:
    """Return the findings that the simulator makes."""
    from ecgcam.records.simulator import FINDINGS

    return _starting(FINDINGS, incomplete)


def complete_page(incomplete: str) -> list[str]:
    """Return the names of the pages of the documentation."""
    from ecgcam.resources import docs_pages

    return _starting(docs_pages(), incomplete)


def complete_prompt(incomplete: str) -> list[str]:
    """Return the vocabulary's prompts."""
    from ecgcam.models.text.vocabulary import vocabulary_prompts

    return _starting(vocabulary_prompts(), incomplete)


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
