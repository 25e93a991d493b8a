"""What `relalign` can be asked to do: the pipeline's stages, and commands for people with embeddings of their own.

Only wiring: options in, a call to another room, a message out.
"""
