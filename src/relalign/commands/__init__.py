"""The commands for people with embeddings of their own; the pipeline has its stages (`relalign.stages`)."""
