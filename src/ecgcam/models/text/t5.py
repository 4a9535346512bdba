"""The encoder of T5: flan-t5 (D-BETA). Its files hold the decoder too, which is left out."""

from __future__ import annotations

from typing import ClassVar

from ecgcam.models.text.tower import PublishedTower


class T5Tower(PublishedTower):
    """T5 has no class token and no pooler: the model file names the pooling."""

    architecture: ClassVar[str] = "T5EncoderModel"
