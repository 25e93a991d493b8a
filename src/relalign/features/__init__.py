"""Frozen encoders over the pairs, once: the store of features and the batches read from it. Knows no method."""
