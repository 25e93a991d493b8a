"""A trained run that takes raw images and texts into its shared space, where a cosine compares them.

    image --> upright RGB --> image encoder up to its cut --> trained layers and tower --> unit-norm embedding
    text  --> token numbers --> text encoder up to its cut --> trained layers and tower --> unit-norm embedding

Each step is the pipeline's own, with its roundings, so that embeddings are those of `embeddings/`.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from relalign.errors import RelalignError
from relalign.features.batches import SplitData
from relalign.features.encoders import load_image_encoder, load_text_encoder
from relalign.features.encoders.base import ImageEncoder, TextEncoder, saturated_half
from relalign.features.inputs import CaptionInputs
from relalign.features.table import Features, Table
from relalign.layout import Layout
from relalign.methods.cca import LinearEmbedder
from relalign.methods.model_files import Embedder, load_model
from relalign.methods.zero_shot import ZeroShotEmbedder
from relalign.model.backbone import Backbone, Tower
from relalign.retrieval.finished import joined, kept
from relalign.retrieval.given import Given, checked_texts, upright_image
from relalign.settings import Params
from relalign.settings.dataset import Validate
from relalign.settings.encoder import Encoder
from relalign.system.artifacts import MANIFEST, digest, read_manifest

Vectors = Float32[NDArray[np.float32], "row width"]
_Batches = Iterator[tuple[NDArray[np.int64], Features]]


class RetrievalModel:
    """An embedder with the encoders below it: `of_run` makes one from a project, `relalign.load` from a folder.

    Safe to call from several threads, which take turns: tokenizers and cut encoders have a state while they work,
    and torch takes all cores by itself. All methods raise `RelalignError` for an image or a text that cannot
    be used; it names the file, or the place in the list.
    """

    def __init__(
        self,
        embedder: Embedder,
        image_encoder: ImageEncoder,
        text_encoder: TextEncoder,
        *,
        device: torch.device,
        max_pixels: int = Validate().max_pixels,
    ) -> None:
        self.embedder, self.device, self.max_pixels = embedder, device, max_pixels
        self.image_encoder, self.text_encoder = image_encoder, text_encoder
        self._alone = threading.Lock()

    @classmethod
    def of_run(
        cls,
        params: Params,
        layout: Layout,
        *,
        method: str,
        seed: int,
        device: torch.device | None = None,
        loaded: dict[Any, Any] | None = None,
    ) -> "RetrievalModel":
        """The model of a trained run with the encoders of `data/encoders`.

        Where the run is evaluated, its fusion encoder re-ranks with the share that was chosen on validation.
        Models that are given the same `loaded`, at first `{}`, share their encoders: ask them from one thread.
        Raises `RelalignError` if the run is not trained, or was trained with other encoders than those there.
        """
        check_run(params, layout, method=method, seed=seed)
        run = layout.run(method, seed)
        model = cls.of_folders(
            run / "model",
            {side: (params.encoder[name], layout.encoder(name)) for side, name in params.encoders},
            device=device,
            max_pixels=params.validate_.max_pixels,
            loaded=loaded,
        )
        model.use_fusion_share(fusion_share_of(run))
        return model

    @classmethod
    def of_folders(
        cls,
        model: Path,
        encoders: dict[str, tuple[Encoder, Path]],
        *,
        device: torch.device | None = None,
        max_pixels: int = Validate().max_pixels,
        loaded: dict[Any, Any] | None = None,
    ) -> "RetrievalModel":
        """The model of a published `model/` folder and, for "image" and "text", an encoder and its folder.

        An encoder that was cut in training must have `train_from` as it was then.
        """
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        embedder = load_model(model, device=device)
        trained = set(embedder.encoders) if isinstance(embedder, Backbone) else set()
        # What reads no tokens (CCA) needs no cut.
        (image, image_folder), (text, text_folder) = (
            (encoder if side in trained else encoder.model_copy(update={"train_from": None}), folder)
            for side, (encoder, folder) in ((side, encoders[side]) for side in ("image", "text"))
        )
        for folder in (image_folder, text_folder):
            read_manifest(folder)
        return cls(
            embedder,
            _once(
                loaded, (image_folder, image.train_from), lambda: load_image_encoder(image, image_folder, device)
            ),
            _once(loaded, (text_folder, text.train_from), lambda: load_text_encoder(text, text_folder, device)),
            device=device,
            max_pixels=max_pixels,
        )

    def encode_images(
        self,
        images: Sequence[Given],
        *,
        batch_size: int = 32,
        normalize: bool = True,
        show_progress_bar: bool | None = None,
    ) -> Vectors:
        """Embed images: paths, PIL images or uint8 arrays of shape (height, width, 3).

        Args:
            images: decoded as validation does: upright, RGB, transparency on white.
            batch_size: so many are encoded at once.
            normalize: to unit norm; otherwise rows are as the tower makes them. Cosines are the same.
            show_progress_bar: None shows one in a terminal.
        """
        if isinstance(images, str | Path):
            raise RelalignError(f"A list of images is wanted, not one image: give ['{images}'].")
        batches = self._images(images, batch_size)
        return self._embedded(batches, "image", len(images), normalize=normalize, bar=show_progress_bar)

    def encode_texts(
        self,
        texts: Sequence[str],
        *,
        batch_size: int = 32,
        normalize: bool = True,
        show_progress_bar: bool | None = None,
    ) -> Vectors:
        """Embed texts, longer ones cut to the text encoder's `max_tokens`; arguments as for images."""
        batches = self._texts(texts, batch_size)
        return self._embedded(batches, "text", len(texts), normalize=normalize, bar=show_progress_bar)

    def similarity(
        self,
        texts: Float32[NDArray[np.float32], "text width"],
        images: Float32[NDArray[np.float32], "image width"],
    ) -> Float32[NDArray[np.float32], "text image"]:
        """The cosine of each text embedding with each image embedding."""
        first, second = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (texts, images))
        cosines: NDArray[np.float32] = first @ second.T
        return cosines

    def image_features(self, images: Sequence[Given], *, batch_size: int = 32) -> Features:
        """What the fusion encoder reads of images: finished tokens (float16, in memory), pooled and summary."""
        return self._finished(self._images(images, batch_size), "image")

    def text_features(self, texts: Sequence[str], *, batch_size: int = 32) -> Features:
        """What the fusion encoder reads of texts."""
        return self._finished(self._texts(texts, batch_size), "text")

    def use_fusion_share(self, share: float | None) -> None:
        """How much fusion's own say counts when this model re-ranks (`Backbone`); None leaves it as it is."""
        if share is not None and isinstance(self.embedder, Backbone):
            self.embedder.fusion_share.fill_(share)

    def _images(self, images: Sequence[Given], batch_size: int) -> _Batches:
        for start in range(0, len(images), batch_size):
            chunk = list(enumerate(images[start : start + batch_size], start))
            pictures = (upright_image(given, self.max_pixels, name=f"images[{place}]") for place, given in chunk)
            encoded = self.image_encoder.encode(np.stack([self.image_encoder.prepare(each) for each in pictures]))
            tokens = saturated_half(encoded.tokens) if encoded.tokens.is_floating_point() else encoded.tokens
            lengths = torch.full((len(chunk),), tokens.shape[1])
            features = self._features("image", tokens, lengths, encoded.pooled, saturated_half(encoded.summary))
            yield np.arange(start, start + len(chunk)), features

    def _texts(self, texts: Sequence[str], batch_size: int) -> _Batches:
        if not len(texts):
            return
        pairs = pd.DataFrame({"caption_id": range(len(texts)), "caption": checked_texts(texts)})
        inputs = CaptionInputs(pairs, self.text_encoder, batch_size=batch_size)
        for filled, real in inputs.batches(np.arange(len(texts))):
            encoded = inputs.encode(filled[:real], real)
            tokens, lengths, pooled, summary = map(
                torch.from_numpy, (encoded.tokens, encoded.lengths, encoded.pooled, encoded.summary)
            )
            content = None if encoded.content is None else torch.from_numpy(encoded.content)
            yield filled[:real], self._features("text", tokens, lengths.long(), pooled, summary, content)

    def _features(
        self,
        side: str,
        tokens: Tensor,
        lengths: Tensor,
        pooled: Tensor,
        summary: Tensor,
        content: Tensor | None = None,
    ) -> Features:
        cut = isinstance(self.embedder, Backbone) and side in self.embedder.encoders
        table = Table(tokens, lengths.to(self.device), pooled, summary, content, below_cut=cut)
        return Features(table, torch.arange(len(lengths), device=self.device))

    @torch.inference_mode()
    def _embedded(
        self, batches: _Batches, side: str, count: int, *, normalize: bool, bar: bool | None
    ) -> NDArray[np.float32]:
        order, parts = [], []
        shown = tqdm(total=count, desc=f"Encoding {side}s", disable=None if bar is None else not bar)
        with self._alone, shown as progress:
            for rows, features in batches:
                features = self._finish(side, features)
                vectors = unscaled(self.embedder, side, features.pooled, features.summary)
                scaled = F.normalize(vectors, dim=-1) if normalize else vectors
                order.append(rows)
                parts.append(scaled.float().numpy(force=True))
                progress.update(len(rows))
        _check_any(parts, side)
        embedded: NDArray[np.float32] = np.concatenate(parts)[np.concatenate(order).argsort()]
        return embedded

    def _finish(self, side: str, features: Features) -> Features:
        return self.embedder.finished(side, features) if isinstance(self.embedder, Backbone) else features

    @torch.inference_mode()
    def _finished(self, batches: _Batches, side: str) -> Features:
        order, parts = [], []
        with self._alone:
            for rows, features in batches:
                order.append(torch.from_numpy(rows))
                parts.append(kept(self._finish(side, features)))
        _check_any(parts, side)
        return joined(parts, torch.cat(order))


def _once(loaded: dict[Any, Any] | None, key: object, load: Callable[[], Any]) -> Any:
    """What is loaded already, else what `load` gives, which is kept; without `loaded` nothing is."""
    if loaded is None:
        return load()
    if key not in loaded:
        loaded[key] = load()
    return loaded[key]


def unscaled(
    embedder: Embedder,
    side: str,
    pooled: Float[Tensor, "row pooled_width"],
    summary: Float[Tensor, "row summary_width"],
) -> Float[Tensor, "row width"]:
    """Embeddings before they are scaled to unit norm, of finished vectors; `side` is "image" or "text"."""
    if isinstance(embedder, ZeroShotEmbedder):
        return pooled
    if isinstance(embedder, LinearEmbedder):
        mean, directions = getattr(embedder, f"{side}_mean"), getattr(embedder, f"{side}_map")
        linear: Tensor = (summary - mean) @ directions
        return linear
    tower: Tower = getattr(embedder, side)
    standardised = (summary - tower.mean) / tower.deviation
    both: Tensor = tower.linear(standardised) + tower.residual(standardised)
    return both


def paired(image: Features, text: Features) -> SplitData:
    """Finished features as `relalign.retrieval.two_stage.fused_pairs` takes them: positions for ids, and no
    caption known to belong to any image (all are put to the first)."""
    images, texts = np.arange(len(image)), np.arange(len(text))
    return SplitData.build(images, texts, np.zeros_like(texts), image, text)


def _check_any(parts: Sequence[object], side: str) -> None:
    if not parts:
        raise RelalignError(f"There are no {side}s to encode: the list is empty.")


def check_run(params: Params, layout: Layout, *, method: str, seed: int) -> None:
    """Check that a run is trained, and with the encoders that params.yaml and `data/encoders` have now.

    Raises `RelalignError` that says what to run.
    """
    params.settings_of(method)
    model = layout.run(method, seed) / "model"
    if not (model / MANIFEST).is_file():
        raise RelalignError(
            f"{model} does not exist: '{method}' is not trained with seed {seed}. Run "
            f"`relalign stage train --method {method} --seed {seed}`, or all of it with `snakemake --cores all`."
        )
    manifest = read_manifest(model)
    for side, name in params.encoders:
        read_manifest(layout.encoder(name))
        known = manifest["parameters"]["encoders"][side]
        asked = params.encoder[name].model_dump(mode="json", include={*known})
        features = layout.features(name)
        stale = (features / MANIFEST).is_file() and (
            digest(features) != manifest["inputs"][f"{side}_features"]
            or read_manifest(features)["inputs"].get("encoder", "") != digest(layout.encoder(name))
        )
        if known != asked or stale:
            raise RelalignError(
                f"{model} was trained with another {side} encoder, or other features of it, than encoder.{name} "
                "stands for now. Run the pipeline again (`snakemake --cores all`)."
            )


def fusion_share_of(run: Path) -> float | None:
    """The share that evaluation chose for a run's re-ranking; None if it is not evaluated or has no fusion."""
    metrics = run / "metrics.json"
    share = json.loads(metrics.read_text()).get("rerank/fusion_share") if metrics.is_file() else None
    return None if share is None else float(share)
