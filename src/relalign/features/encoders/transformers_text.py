"""Text encoders from `transformers`: BERT, MiniLM, MPNet, E5, CLIP's and SigLIP's text towers, others."""

import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int64

from relalign.errors import RelalignError
from relalign.features.encoders.base import Encoded, TokenisedCaption
from relalign.features.encoders.part import INPUT, InputOf
from relalign.features.encoders.pretrained import load_pretrained
from relalign.features.encoders.transformers_part import TransformersTextPart


class TransformersTextEncoder:
    """`TextEncoder`: the whole model, or with a cut its activations there.

    `prefix` is put before every caption (E5 wants "query: "). SigLIP was trained on captions padded to full length
    without a mask, and gets them so.
    """

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        *,
        max_tokens: int,
        prefix: str = "",
        train_from: str | None = None,
    ) -> None:
        from transformers import AutoTokenizer

        self.device = device
        self.prefix = prefix
        model = load_pretrained(folder, device)
        try:
            self.tokeniser = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise RelalignError(f"{folder} has no tokenizer: {error}") from error
        config = getattr(model.config, "text_config", model.config)
        self.part = TransformersTextPart(model, takes_first=takes_first(folder))
        self.train_from = train_from
        self.keeps_all = train_from is not None
        self.at_cut = None if train_from in (None, INPUT) else InputOf(self.part.first_layer(str(train_from)))
        positions = min(getattr(config, "max_position_embeddings", max_tokens), self.tokeniser.model_max_length)
        self.pads_fully = not self.part.has_mask
        self.length = positions if self.pads_fully else min(max_tokens, positions)

    def tokenise(self, captions: list[str]) -> list[TokenisedCaption]:
        """Token numbers of each caption; what the tokenizer adds counts towards `max_tokens`."""
        batch = self.tokeniser(
            [self.prefix + caption for caption in captions],
            truncation=True,
            max_length=self.length,
            padding="max_length" if self.pads_fully else False,
            return_special_tokens_mask=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        pairs = zip(batch["input_ids"], batch["special_tokens_mask"], captions, strict=True)
        return [_tokenised(numbers, special, caption) for numbers, special, caption in pairs]

    @torch.inference_mode()
    def encode(
        self, numbers: Int64[np.ndarray, "batch length"], content: Bool[np.ndarray, "batch length"]
    ) -> Encoded:
        """Features at every position of captions of equal length; summaries are over `content` alone."""
        captions = torch.from_numpy(numbers)[..., None].to(self.device)
        everywhere = torch.ones(captions.shape[:2], dtype=torch.bool, device=self.device)
        encoded = self.part(captions, everywhere, torch.from_numpy(content).to(self.device))
        tokens = encoded.tokens
        if self.train_from is not None:
            tokens = captions if self.at_cut is None else self.at_cut.seen
        return Encoded(tokens.cpu(), encoded.pooled.cpu(), encoded.summary.cpu())


def _tokenised(numbers: list[int], special: list[int], caption: str) -> TokenisedCaption:
    if not numbers:
        raise RelalignError(f"the text encoder's tokenizer makes nothing of the caption {caption!r}.")
    content = np.array(special) == 0
    content[0] |= not content.any()  # a caption without a word it knows keeps its first token
    return TokenisedCaption(np.array(numbers, dtype=np.int64), content)


def takes_first(folder: Path) -> bool:
    """Whether sentence-transformers, by the folder's configuration, takes the CLS token as pooled vector."""
    path = folder / "1_Pooling/config.json"
    return path.is_file() and bool(json.loads(path.read_text()).get("pooling_mode_cls_token", False))
