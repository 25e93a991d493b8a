"""Tiny random checkpoints in the folders that users have: config, safetensors, tokenizer, image preprocessing."""

import json
from pathlib import Path

import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = (
    "a",
    "the",
    "dog",
    "cat",
    "runs",
    "sleeps",
    "on",
    "under",
    "red",
    "small",
    "mat",
    "tree",
    "query",
    ":",
    "two",
)
_SMALL = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
_VISION = {**_SMALL, "image_size": 16, "patch_size": 8}
_TEXT = {**_SMALL, "vocab_size": len(WORDS) + 8, "max_position_embeddings": 12}
_SPECIAL = {
    "bert": ("[PAD]", "[CLS]", "[SEP]", "[UNK]"),
    "mpnet": ("<s>", "<pad>", "</s>", "<unk>"),
    "clip": ("<|startoftext|>", "<|endoftext|>", "<unk>"),
    "siglip": ("<pad>", "</s>", "<unk>"),
}


def save_vision(kind: str, folder: Path, *, seed: int = 0) -> None:
    """A vision model of 16 x 16 px images cut into 2 x 2 patches, and its image processor's configuration."""
    torch.manual_seed(seed)
    _vision_model(kind).save_pretrained(folder)
    _save_processor(folder)


def save_text(kind: str, folder: Path, *, seed: int = 0) -> None:
    """A text model and a word-level tokenizer with that model's way of adding special tokens."""
    torch.manual_seed(seed)
    if kind == "bert":
        model = hf.BertModel(hf.BertConfig(**_TEXT, pad_token_id=0))
    else:
        model = hf.MPNetModel(hf.MPNetConfig(**_TEXT, pad_token_id=1))
    model.save_pretrained(folder)
    _save_tokenizer(kind, folder)


def save_joint(kind: str, folder: Path, *, seed: int = 0) -> None:
    """A CLIP or SigLIP model with both towers, tokenizer and image preprocessing."""
    torch.manual_seed(seed)
    if kind == "clip":
        ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
        config = hf.CLIPConfig(text_config={**_TEXT, **ends}, vision_config=_VISION, projection_dim=8)
        hf.CLIPModel(config).save_pretrained(folder)
    else:
        ends = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
        text = {**_TEXT, **ends, "projection_size": 16}
        hf.SiglipModel(hf.SiglipConfig(text_config=text, vision_config=_VISION)).save_pretrained(folder)
    _save_tokenizer(kind, folder)
    _save_processor(folder)


def _vision_model(kind: str) -> hf.PreTrainedModel:
    if kind == "vit":
        return hf.ViTModel(hf.ViTConfig(**_VISION))
    if kind == "deit":
        return hf.DeiTModel(hf.DeiTConfig(**_VISION))
    if kind == "dinov2":
        return hf.Dinov2Model(hf.Dinov2Config(**{**_VISION, "mlp_ratio": 2}))
    if kind == "dinov2_with_registers":
        return hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(**_VISION, num_register_tokens=4))
    if kind == "swin":
        sizes = {"image_size": 16, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}
        return hf.SwinModel(hf.SwinConfig(**sizes, window_size=2))
    return hf.ConvNextModel(hf.ConvNextConfig(hidden_sizes=[4, 8], depths=[1, 1], num_stages=2, patch_size=4))


def _save_processor(folder: Path) -> None:
    size = {"height": 16, "width": 16}
    half = [0.5, 0.5, 0.5]
    settings = {"image_processor_type": "ViTImageProcessor", "size": size, "image_mean": half, "image_std": half}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def _save_tokenizer(kind: str, folder: Path) -> None:
    special = _SPECIAL[kind]
    numbers = {word: number for number, word in enumerate([*special, *WORDS])}
    unknown = special[-1]
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"unk_token": unknown}
    if kind == "siglip":
        pattern, ends, names["pad_token"] = "$A </s>", ("</s>",), "<pad>"
        names["eos_token"] = "</s>"
    elif kind == "clip":
        pattern, ends = "<|startoftext|> $A <|endoftext|>", special[:2]
        names |= {"bos_token": special[0], "eos_token": special[1], "pad_token": special[1]}
    else:
        first, last, padding = ("[CLS]", "[SEP]", "[PAD]") if kind == "bert" else ("<s>", "</s>", "<pad>")
        pattern, ends = f"{first} $A {last}", (first, last)
        names |= {"cls_token": first, "sep_token": last, "pad_token": padding}
    ids = [(end, numbers[end]) for end in ends]
    tokenizer.post_processor = processors.TemplateProcessing(single=pattern, special_tokens=ids)
    length = _TEXT["max_position_embeddings"] - (2 if kind == "mpnet" else 0)
    fast = hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=length, **names)
    fast.save_pretrained(folder)
