"""A cache of prompt features: a tower of 110 million parameters is not loaded again for a prompt that was embedded before.

The key is the content: of the tower's weights, its configuration and tokenizer, the tower's settings, and the prompt. Whatever
changes, the key changes with it, so no entry becomes stale. A file holds one prompt's numbers; the prompt itself is not stored.
 ``ECGCAM_CACHE`` names another folder, or ``off``.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ecgcam.errors import EcgcamError
from ecgcam.files import atomic, load_arrays
from ecgcam.models.hub import sha256_of
from ecgcam.protocol.spec import TowerSpec
from ecgcam.resources import cache_folder

log = logging.getLogger("ecgcam")

# Increased when the features change in a way that `TowerSpec` does not show.
FORMAT = 2
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
_OTHERS = (".h5", ".msgpack", ".ot", ".onnx", ".md", ".png", ".gitattributes")


class FeatureCache:
    """Features of one tower in one folder, one file per prompt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _file(self, text: str) -> Path:
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npy"

    def read(self, texts: Iterable[str]) -> dict[str, Tensor]:
        """Return the features, (W,) or (tokens, W), of those prompts that are kept; a damaged file is as good as none."""
        kept = {}
        for text in texts:
            path = self._file(text)
            if not path.is_file():
                continue
            try:
                row = load_arrays(path)
            except EcgcamError as error:
                log.debug("not used: %s", error)
                continue
            if (
                isinstance(row, np.ndarray)
                and row.ndim in {1, 2}
                and row.dtype == np.float32
                and np.isfinite(row).all()
            ):
                kept[text] = torch.from_numpy(row)
        return kept

    def write(self, rows: Mapping[str, Tensor]) -> None:
        """Keep features of prompts; where nothing can be written, nothing is kept."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for text, row in rows.items():
                with atomic(self._file(text)) as path:
                    np.save(path, row.float().numpy())
        except OSError as error:
            log.debug("%s: prompts are not kept (%s)", self.folder, error.strerror or error)


def cache_of(source: str, folder: Path | None, spec: TowerSpec, checkpoint_sha256: str | None) -> FeatureCache | None:
    """Return where a tower's features are kept; None if nowhere, or if the tower's files are not on this machine.

    Parameters
    ----------
    source, folder : str, Path
        Its name on the hub, and its local folder in place of that.
    spec : TowerSpec
        Case, template, cut and pooling of prompts.
    checkpoint_sha256 : str
        Of the checkpoint that holds its weights; None where they are those of the tower's files.
    """
    root, files = cache_folder(), _here(source) if folder is None else folder
    if root is None or files is None or not files.is_dir():
        return None
    inside = checkpoint_sha256 is not None
    names = sorted(path for path in files.iterdir() if path.is_file() and path.suffix not in _OTHERS)
    if not inside and not any(path.suffix in _WEIGHTS for path in names):
        return None
    content = {path.name: sha256_of(path) for path in names if not (inside and path.suffix in _WEIGHTS)}
    try:
        versions = [metadata.version("transformers"), torch.__version__]
    except metadata.PackageNotFoundError:
        return None
    key = [FORMAT, asdict(spec), checkpoint_sha256, content, versions]
    return FeatureCache(root / "text" / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32])


def _here(name: str) -> Path | None:
    """Return the folder in which the hub's own cache has a tower's files, without asking the network."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(name, "config.json")
    return Path(found).parent if isinstance(found, str) else None
