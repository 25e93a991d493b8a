"""Frozen text encoders from `transformers`: BERT, MiniLM, MPNet, E5, CLIP's and SigLIP's text towers, others."""

import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int64

from relalign.errors import RelalignError
from relalign.features.encoders.base import Encoded, TokenisedCaption, mean_and_maximum
from relalign.features.encoders.pretrained import load_pretrained


class TransformersTextEncoder:
    """`TextEncoder`: last hidden states of the caption's own tokens, and a pooled vector.

    The pooled vector is, for joint models, the text embedding in the shared space (`get_text_features`);
    otherwise the mean over all positions, CLS and SEP included, as sentence-transformers does, or the CLS token
    where the folder's sentence-transformers configuration says so. `prefix` is put before every caption (E5 wants
    "query: "). SigLIP was trained on captions padded to full length without a mask, and gets them so.
    The summary is the pooled vector with mean and maximum over the words of three layers: the embeddings, two
    thirds up, and the last. A last layer trained for similarity of sentences has let go of many a word.
    """

    def __init__(self, folder: Path, device: torch.device, *, max_tokens: int, prefix: str = "") -> None:
        from transformers import AutoTokenizer

        self.device = device
        self.prefix = prefix
        self.model = load_pretrained(folder, device)
        try:
            self.tokeniser = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise RelalignError(f"{folder} has no tokenizer: {error}") from error
        config = getattr(self.model.config, "text_config", self.model.config)
        self.joint = hasattr(self.model, "get_text_features")
        self.pads_fully = config.model_type.startswith("siglip")
        self.takes_first = _sentence_transformers_takes_first(folder)
        self.lower_layers = (0, 2 * config.num_hidden_layers // 3)
        positions = min(getattr(config, "max_position_embeddings", max_tokens), self.tokeniser.model_max_length)
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
        forward = self.model.get_text_features if self.joint else self.model
        output = forward(input_ids=torch.from_numpy(numbers).to(self.device), output_hidden_states=True)
        hidden = output.last_hidden_state
        own = hidden[:, 0] if self.takes_first else hidden.mean(1)
        pooled = output.pooler_output if self.joint else own
        words = torch.from_numpy(content).to(self.device)
        levels = (*(output.hidden_states[layer] for layer in self.lower_layers), hidden)
        summary = torch.cat([pooled, *(mean_and_maximum(level, words) for level in levels)], dim=1)
        return Encoded(hidden.cpu(), pooled.cpu(), summary.cpu())


def _tokenised(numbers: list[int], special: list[int], caption: str) -> TokenisedCaption:
    if not numbers:
        raise RelalignError(f"the text encoder's tokenizer makes nothing of the caption {caption!r}.")
    content = np.array(special) == 0
    content[0] |= not content.any()  # a caption without a word it knows keeps its first token
    return TokenisedCaption(np.array(numbers, dtype=np.int64), content)


def _sentence_transformers_takes_first(folder: Path) -> bool:
    path = folder / "1_Pooling/config.json"
    return path.is_file() and bool(json.loads(path.read_text()).get("pooling_mode_cls_token", False))
