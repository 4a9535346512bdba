"""The encoder of T5: flan-t5 (D-BETA). Its files hold the decoder too, which is not made."""

from __future__ import annotations

from typing import ClassVar

from ecgcam.models.text.tower import PublishedTower


class T5Tower(PublishedTower):
    """T5 has no class token and no pooler: the model file says which token is read."""

    architecture: ClassVar[str] = "T5EncoderModel"
