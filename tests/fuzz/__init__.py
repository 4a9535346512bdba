"""Fuzzing: valid files, seeded damage, and what must hold of every answer. `python -m tests.fuzz --help`."""
