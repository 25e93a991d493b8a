"""Run folders as the export stage leaves them, from random embeddings."""

import numpy as np

from relalign.artifacts import publish
from relalign.embeddings import Embeddings, write_embeddings
from relalign.layout import Layout
from relalign.params import Params, load_params


def random_embeddings(images=40, captions=3, width=8, noise=0.6, seed=0):
    """A test split with ids that are not row numbers; less noise means better retrieval."""
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((images, width))
    owner = np.repeat(np.arange(images), captions)
    text = image[owner] + noise * rng.standard_normal((len(owner), width))
    rows = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (image, text)]
    image_ids = 10 + 3 * np.arange(images, dtype=np.int64)
    return Embeddings(
        rows[0].astype(np.float32),
        rows[1].astype(np.float32),
        image_ids,
        1000 + np.arange(len(owner), dtype=np.int64),
        image_ids[owner],
    )


def write_run(layout: Layout, method, seed, embeddings):
    """Publish embeddings and a model file of one run."""
    run = layout.run(method, seed)
    with publish(run / "embeddings", made_by="test") as draft:
        write_embeddings(draft, embeddings)
    with publish(run / "model", made_by="test") as draft:
        (draft / "model.safetensors").write_bytes(f"{method}{seed}".encode())
    return run


def project_params(root, **evaluate) -> Params:
    """The repository's params without tracking, with two methods and two seeds."""
    params = load_params(root / "params.yaml")
    settings = params.evaluate.model_copy(update={"bootstrap_samples": 50, "permutations": 99, **evaluate})
    return params.model_copy(
        update={
            "methods": ("cca", "contrastive"),
            "seeds": (0, 1),
            "evaluate": settings,
            "tracking": params.tracking.model_copy(update={"enabled": False}),
        }
    )
