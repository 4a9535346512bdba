"""A checkpoint in, an EcgTextModel out."""
