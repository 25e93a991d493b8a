"""Retrieval metrics: pure functions, one idea a file."""
