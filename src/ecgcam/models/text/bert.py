"""BERT and its relatives as encoders: MedCPT, Bio_ClinicalBERT, BioLinkBERT, BioBERT."""

from __future__ import annotations

from ecgcam.models.text.tower import PublishedTower


class BertTower(PublishedTower):
    """Every token attends to every other; the model file names the pooling."""
