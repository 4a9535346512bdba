"""The text side of models with a published tower; the tower is made when a prompt has no cached features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ecgcam.errors import EcgcamError
from ecgcam.models.text.bert import BertTower
from ecgcam.models.text.bert_decoder import BertDecoderTower
from ecgcam.models.text.cache import FeatureCache, cache_of
from ecgcam.models.text.t5 import T5Tower
from ecgcam.models.text.tower import PublishedTower, check_folder, weights_inside
from ecgcam.protocol.spec import TowerKind, TowerSpec

TOWERS: dict[TowerKind, type[PublishedTower]] = {"bert": BertTower, "t5": T5Tower, "bert-decoder": BertDecoderTower}


class PublishedEncoder:
    """A text side: a published tower, and the model's projection of its features. Each prompt is embedded once.

    Parameters
    ----------
    make : callable
        () -> the tower.
    project : callable
        (P, W) -> (P, D), before L2; where the model pools tokens itself, (1, tokens, W) -> (1, D).
    cache : callable
        () -> where features of earlier calls are kept, None where they are not: the tower is then made. Asked again once the
        tower is there, since making it may have brought its files.
    """

    def __init__(
        self,
        make: Callable[[], PublishedTower],
        project: Callable[[Tensor], Tensor],
        cache: Callable[[], FeatureCache | None] = lambda: None,
    ) -> None:
        self._make, self._project, self._find_cache = make, project, cache
        self._tower: PublishedTower | None = None
        self._kept: FeatureCache | None = None
        self._known: dict[str, Tensor] = {}

    @property
    def tower(self) -> PublishedTower:
        """The tower."""
        if self._tower is None:
            self._tower = self._make()
        return self._tower

    @property
    def _cache(self) -> FeatureCache | None:
        if self._kept is None:
            self._kept = self._find_cache()
        return self._kept

    def features(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the tower's features of each prompt: (W,), or (tokens, W)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new and self._cache is not None:
            self._known |= self._cache.read(new)
            new = [text for text in new if text not in self._known]
        if new:
            rows = dict(zip(new, self.tower.features(new), strict=True))
            self._known |= rows
            if self._cache is not None:
                self._cache.write(rows)
        return [self._known[text] for text in texts]

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return (P, D), before L2."""
        rows = self.features(texts)
        if rows[0].ndim == 1:
            return self._project(torch.stack(rows))
        return torch.cat([self._project(row[None]) for row in rows])  # prompts differ in their number of tokens

    def has(self, text: str) -> bool:  # noqa: ARG002  (a tokenizer takes any text)
        """Return true."""
        return True

    def warnings(self, text: str) -> list[str]:  # noqa: ARG002
        """Return nothing: a published tower does not report unknown words."""
        return []


def missing_tower(source: str, spec: TowerSpec) -> str:
    """Return what to do about a checkpoint that lacks the text tower it was trained with."""
    return (
        f"{source}: this checkpoint holds no text tower ({' or '.join(f'{each}*' for each in spec.weights)}), and the one on the "
        "hub is not the one it was trained with; give the whole checkpoint, choose a tower with `text_model` DIR, or give "
        "`embeddings`"
    )


def published_text(
    source: str,
    spec: TowerSpec,
    project: Callable[[Tensor], Tensor],
    state: dict[str, Tensor],
    checkpoint_sha256: str,
    folder: Path | None = None,
    offline: bool = False,
) -> PublishedEncoder:
    """Return a model's text side: the tower of a local folder, else of the hub; with the checkpoint's weights.

    Where the model file states that the checkpoint holds the tower, and it does not, a folder that the user names is used, never
    the hub: its weights are not those that the model was trained with.

    Parameters
    ----------
    source, folder, spec, offline
        As for a `PublishedTower`; a folder takes the place of the name on the hub.
    project : callable
        As for a `PublishedEncoder`.
    state, checkpoint_sha256 : dict of Tensor, str
        The whole checkpoint, and what it is known by.
    """
    inside = weights_inside(state, spec.weights)

    def tower() -> PublishedTower:
        check_folder(folder)
        if inside is None and spec.weights and folder is None:
            raise EcgcamError(missing_tower(source, spec))
        made = TOWERS[spec.kind](source if folder is None else str(folder), spec, inside, offline)
        if inside is not None:
            inside.clear()  # the tower holds them now
        return made

    def cache() -> FeatureCache | None:
        return cache_of(source, folder, spec, None if inside is None else checkpoint_sha256)

    return PublishedEncoder(tower, project, cache)
