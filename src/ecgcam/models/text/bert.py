"""BERT and its kin as encoders: MedCPT, Bio_ClinicalBERT, BioLinkBERT, BioBERT. Pooler, or class token."""

from __future__ import annotations

from ecgcam.models.text.tower import PublishedTower


class BertTower(PublishedTower):
    """Every token sees every other; what is read is the pooler's output or the first token, as the model file says."""
