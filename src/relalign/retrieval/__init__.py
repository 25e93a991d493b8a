"""Embeddings, their index, and search in two stages (nearest by embedding, re-ranked by fusion)."""
