"""Prompts to embeddings, one file per kind of text tower."""
