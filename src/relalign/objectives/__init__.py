"""Training objectives: pure functions of tensors, one idea a file, each with its formula. No model, no files."""
