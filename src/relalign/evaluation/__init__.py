"""One trained run on the test split: every number of `metrics.json`, and per-query files. Trains nothing."""
