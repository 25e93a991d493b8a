import json
from pathlib import Path

import numpy as np
import pytest
import torch

from relalign.errors import RelalignError
from relalign.features.encoders.base import Encoded
from relalign.features.encoders.transformers_text import TransformersTextEncoder
from tests.features.encoders.checkpoints import save_joint, save_text

CPU = torch.device("cpu")
CAPTIONS = ["a dog runs", "the small red cat sleeps on a mat", "two"]


def _encoder(folder: Path, **settings) -> TransformersTextEncoder:
    return TransformersTextEncoder(folder, CPU, **{"max_tokens": 12, **settings})


def _one(encoder: TransformersTextEncoder, caption: str) -> tuple[Encoded, np.ndarray]:
    (tokenised,) = encoder.tokenise([caption])
    return encoder.encode(tokenised.numbers[np.newaxis], tokenised.content[np.newaxis]), tokenised.content


@pytest.mark.parametrize("kind", ["bert", "mpnet"])
def test_pooled_is_the_masked_mean_of_a_padded_batch(kind: str, tmp_path: Path) -> None:
    save_text(kind, tmp_path)
    encoder = _encoder(tmp_path)
    batch = encoder.tokeniser(CAPTIONS, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        hidden = encoder.part.model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    expected = (hidden * mask).sum(1) / mask.sum(1)
    for row, caption in enumerate(CAPTIONS):
        encoded, _ = _one(encoder, caption)
        torch.testing.assert_close(encoded.pooled[0], expected[row])
        torch.testing.assert_close(encoded.tokens[0], hidden[row, : encoded.tokens.shape[1]])


@pytest.mark.parametrize("kind", ["bert", "mpnet", "clip", "siglip"])
def test_the_summary_holds_means_and_maxima_over_the_words_of_three_layers(kind: str, tmp_path: Path) -> None:
    (save_text if kind in ("bert", "mpnet") else save_joint)(kind, tmp_path)
    encoder = _encoder(tmp_path)
    (tokenised,) = encoder.tokenise(["a dog runs"])
    numbers = torch.from_numpy(tokenised.numbers[np.newaxis])
    tower = getattr(encoder.part.model, "text_model", encoder.part.model)
    with torch.inference_mode():
        layers = tower(input_ids=numbers, output_hidden_states=True)
    encoded = encoder.encode(numbers.numpy(), tokenised.content[np.newaxis])
    depth = len(layers.hidden_states) - 1
    expected = [encoded.pooled[0]]
    for level in (layers.hidden_states[0], layers.hidden_states[2 * depth // 3], layers.last_hidden_state):
        words = [level[0, place] for place in np.flatnonzero(tokenised.content)]
        expected += [sum(words) / len(words), torch.stack(words).amax(0)]
    torch.testing.assert_close(encoded.summary[0], torch.cat(expected))


@pytest.mark.parametrize("kind", ["bert", "mpnet", "clip", "siglip"])
def test_only_the_words_of_a_caption_are_content(kind: str, tmp_path: Path) -> None:
    (save_text if kind in ("bert", "mpnet") else save_joint)(kind, tmp_path)
    encoder = _encoder(tmp_path)
    for caption, tokenised in zip(CAPTIONS, encoder.tokenise(CAPTIONS), strict=True):
        words = encoder.tokeniser.convert_ids_to_tokens(tokenised.numbers[tokenised.content].tolist())
        assert words == caption.split()


def test_clip_pools_into_the_shared_space(tmp_path: Path) -> None:
    save_joint("clip", tmp_path)
    encoder = _encoder(tmp_path)
    batch = encoder.tokeniser(CAPTIONS, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        expected = encoder.part.model.get_text_features(**batch).pooler_output
    for row, caption in enumerate(CAPTIONS):
        encoded, _ = _one(encoder, caption)
        assert encoded.pooled.shape == (1, 8)
        torch.testing.assert_close(encoded.pooled[0], expected[row])


def test_siglip_reads_captions_padded_to_full_length_without_a_mask(tmp_path: Path) -> None:
    save_joint("siglip", tmp_path)
    encoder = _encoder(tmp_path, max_tokens=5)
    padded = encoder.tokeniser(CAPTIONS, padding="max_length", max_length=12, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        expected = encoder.part.model.get_text_features(input_ids=padded).pooler_output
    for row, caption in enumerate(CAPTIONS):
        encoded, _ = _one(encoder, caption)
        torch.testing.assert_close(encoded.pooled[0], expected[row])


def test_max_tokens_counts_special_tokens_and_yields_to_the_models_own_limit(tmp_path: Path) -> None:
    save_text("bert", tmp_path)
    long = " ".join(["dog"] * 30)
    assert len(_encoder(tmp_path, max_tokens=6).tokenise([long])[0].numbers) == 6
    assert len(_encoder(tmp_path, max_tokens=99).tokenise([long])[0].numbers) == 12


def test_the_prefix_is_read_before_every_caption(tmp_path: Path) -> None:
    save_text("bert", tmp_path)
    plain, prefixed = _encoder(tmp_path), _encoder(tmp_path, prefix="query : ")
    expected = plain.tokenise(["query : a dog"])[0].numbers
    np.testing.assert_array_equal(prefixed.tokenise(["a dog"])[0].numbers, expected)


def test_a_folder_that_asks_for_cls_pooling_gets_it(tmp_path: Path) -> None:
    save_text("bert", tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    encoded, _ = _one(_encoder(tmp_path), "a dog")
    torch.testing.assert_close(encoded.pooled, encoded.tokens[:, 0])


def test_a_caption_without_content_keeps_one_token(tmp_path: Path) -> None:
    save_text("bert", tmp_path)
    (tokenised,) = _encoder(tmp_path).tokenise([" "])
    assert tokenised.content.tolist() == [True, False]


def test_a_folder_without_weights_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RelalignError, match="not a transformers model"):
        _encoder(tmp_path)
