"""How to explain: every choice of a call in one value, checked before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ecgcam.attribution.masking import fill_signal
from ecgcam.attribution.methods import method_named
from ecgcam.attribution.smoothing import smooth
from ecgcam.errors import EcgcamError, no_such
from ecgcam.protocol.spec import InputSpec, ModelSpec

# Masked signals that go through the network at once: enough to fill a CPU, small enough for a laptop's memory.
BATCH = 64
GRADIENTS = ("record", "lead")


@dataclass(frozen=True)
class Settings:
    """How to explain. The options of the command line with the same names mean the same.

    Attributes
    ----------
    method : str
        A row of `ecgcam.attribution.methods.METHODS`.
    options : mapping
        The method's own options, as its row names them; the rest have their defaults.
    layer : str, optional
        Module path of the target layer, default the model's; several, separated by commas, are averaged.
    mask : str, optional
        What fills a masked lead; default the model's. ``none``: maps from the whole signal, of a layer that keeps leads apart;
        the scores of leads alone still need a fill, the model's.
    gradient : str, optional
        Input gradient of the whole ``record``, of each ``lead`` alone, or none (None).
    signed_gradient : bool
        Smooth the gradient with its sign instead of its magnitude.
    smoother, smooth_ms : str, float
        As in `ecgcam.attribution.smoothing.smooth`.
    against : tuple of str
        Foils: explain the score minus the foils' mean score. ``mean`` is the mean embedding of the vocabulary, ``empty`` the
        embedding of the empty text, anything else a prompt.
    seed : int
        Random seed (the ``noise`` mask, methods that draw).
    batch : int
        Masked signals at a time; changes speed and memory, not results.
    """

    method: str = "grad-cam"
    options: Mapping[str, object] = field(default_factory=dict)
    layer: str | None = None
    mask: str | None = None
    gradient: str | None = "record"
    signed_gradient: bool = False
    smoother: str = "gaussian"
    smooth_ms: float = 40.0
    against: tuple[str, ...] = ()
    seed: int = 0
    batch: int = BATCH

    @property
    def masked(self) -> bool:
        """Whether maps come from lead-masked signals."""
        return self.mask != "none"

    def fill(self, source: InputSpec) -> str:
        """Return what fills a masked lead."""
        return self.mask if self.mask and self.masked else source.fill

    def check(self, spec: ModelSpec) -> None:
        """Raise `EcgcamError` if a setting does not exist or does not fit the model, before any record is read."""
        method = method_named(self.method)
        method.complete(self.options)
        if len(spec.layers_named(self.layer)) > 1 and method.family != "cam":
            raise EcgcamError(
                f"`layer` {self.layer}: {self.method} takes one layer; several are averaged by CAM methods only"
            )
        if any(not foil.strip() for foil in self.against):
            raise EcgcamError("`against`: a foil is blank; give a prompt, or mean, or empty")
        if self.gradient is not None and self.gradient not in GRADIENTS:
            raise no_such(f"`gradient` {self.gradient}", "choice", self.gradient, GRADIENTS)
        silence = np.zeros((len(spec.input.leads), spec.input.samples), np.float32)
        known = np.ones(silence.shape, bool)
        if not self.masked:
            self._check_unmasked(spec)
        fill_signal(self.fill(spec.input), silence, known, silence[:, :1], spec.input.mean)
        smooth(silence[:1], known[:1], spec.input.fs, self.smooth_ms, self.smoother)

    def _check_unmasked(self, spec: ModelSpec) -> None:
        if method_named(self.method).family != "cam":
            raise EcgcamError(
                f"`mask` none: {self.method} needs lead-masked signals, or never masks; without masking, only methods of the "
                "family cam (`ecgcam methods`) give a map per lead"
            )
        for path, where in spec.layers_named(self.layer):
            if not where.leads:
                raise EcgcamError(
                    f"`mask` none: the cells of {spec.name} at {path} depend on every lead, so maps per lead need masking; "
                    "leave out `mask`"
                )
