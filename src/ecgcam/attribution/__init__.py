"""Tensors in, maps out. No files, no ECG, no text."""
