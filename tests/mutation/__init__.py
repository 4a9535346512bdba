"""Mutation testing: what the tests would notice if a line of the code were wrong (docs/reliability.md)."""
