"""The study: methods and ablations, tuned with equal effort on validation, and the papers' claims tested."""
