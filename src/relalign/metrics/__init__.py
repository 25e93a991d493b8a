"""Retrieval metrics: pure functions of arrays, one idea a file. No model, no files."""
