"""Training objectives: pure functions, one idea a file."""
