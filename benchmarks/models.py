"""The models that are timed: mini, and MERL with stand-in weights, since its own may not be shipped."""

from __future__ import annotations

from benchmarks.every_method import PROMPTS, model_named

__all__ = ["PROMPTS", "model_named"]
