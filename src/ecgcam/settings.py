"""How to explain: one value for all that a call can choose, checked before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ecgcam.attribution.masking import fill_signal
from ecgcam.attribution.methods import method_named
from ecgcam.attribution.smoothing import smooth
from ecgcam.errors import EcgcamError
from ecgcam.models.spec import InputSpec, ModelSpec

# Masked signals that go through the network at once: enough to fill a CPU, small enough for a laptop's memory.
BATCH = 64
GRADIENTS = ("record", "lead")


@dataclass(frozen=True)
class Settings:
    """How to explain. The command line's flags of the same names say the same.

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
        Take the input gradient on the whole ``record``, on each ``lead`` alone, or not at all (None).
    signed_gradient : bool
        Smooth the gradient itself rather than its magnitude.
    smoother, smooth_ms : str, float
        As in `ecgcam.attribution.smoothing.smooth`.
    against : tuple of str
        Foils: explain the score less the foils' mean score. ``mean`` is the mean embedding of the vocabulary, ``empty`` the
        embedding of the empty text, anything else a prompt.
    seed : int
        Of everything random (the ``noise`` mask, methods that draw).
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
                f"--layer {self.layer}: {self.method} takes one layer; several are averaged by CAM methods only"
            )
        if any(not foil.strip() for foil in self.against):
            raise EcgcamError("--against: a blank foil; give a prompt, or mean, or empty")
        if self.gradient is not None and self.gradient not in GRADIENTS:
            raise EcgcamError(f"--gradient {self.gradient}: no such choice; choose from {', '.join(GRADIENTS)}")
        silence = np.zeros((len(spec.input.leads), spec.input.samples), np.float32)
        known = np.ones(silence.shape, bool)
        if not self.masked:
            self._check_unmasked(spec)
        fill_signal(self.fill(spec.input), silence, known, silence[:, :1], spec.input.mean)
        smooth(silence[:1], known[:1], spec.input.fs, self.smooth_ms, self.smoother)

    def _check_unmasked(self, spec: ModelSpec) -> None:
        if method_named(self.method).family != "cam":
            raise EcgcamError(
                f"--mask none: {self.method} asks about lead-masked signals or masks nothing anyway; without masking only the "
                "methods of the family cam (`ecgcam methods`) give a map per lead"
            )
        for path, where in spec.layers_named(self.layer):
            if not where.leads:
                raise EcgcamError(
                    f"--mask none: the cells of {spec.name} at {path} look at every lead, so that maps per lead need masking; "
                    "leave --mask out"
                )
