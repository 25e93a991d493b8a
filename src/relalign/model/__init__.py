"""The network that all trained methods share. Knows no objective and no method."""
