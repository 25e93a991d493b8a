"""The study: methods and ablations, tuned with equal effort on validation, and the papers' claims tested.

It runs the pipeline's stages under other settings; nothing else may import it.
"""
