"""Measurements; not part of the wheel."""
