import pytest
import torch
from torch import Tensor

from relalign.features.table import Features, features_of
from relalign.model.backbone import Backbone, Side, Widths
from relalign.settings.backbone import Backbone as Settings

WIDTHS = Widths(6, 5, 11, 4, 3, 9)
SETTINGS = Settings(width=8, embedding_width=7, fusion_width=8, fusion_layers=2, heads=2, dropout=0.2)


def random_features(
    rows: int, tokens: int, width: int, pooled: int, summary: int, lengths: list[int] | None = None
) -> Features:
    length = torch.full((rows,), tokens) if lengths is None else torch.tensor(lengths)
    vectors = torch.randn(rows, pooled), torch.randn(rows, summary)
    return features_of(torch.randn(rows, tokens, width).half(), length, *vectors)


@pytest.fixture
def backbone() -> Backbone:
    torch.manual_seed(0)
    return Backbone(SETTINGS, WIDTHS, temperature=0.07).eval()


@pytest.fixture
def sides(backbone: Backbone) -> tuple[Side, Side]:
    torch.manual_seed(1)
    image, text = random_features(3, 9, 6, 5, 11), random_features(3, 5, 4, 3, 9, [5, 2, 1])
    return backbone.encode_image(image), backbone.encode_text(text)


def test_embeddings_have_unit_norm_and_the_temperature_starts_where_it_is_set(
    backbone: Backbone, sides: tuple[Side, Side]
) -> None:
    for side in sides:
        torch.testing.assert_close(side.embedding.norm(dim=1), torch.ones(3))
    assert backbone.temperature.item() == pytest.approx(0.07)


def test_what_stands_in_the_padding_changes_nothing(backbone: Backbone, sides: tuple[Side, Side]) -> None:
    image, text = sides
    tokens = text.features.table.tokens.clone()
    for row, length in enumerate([5, 2, 1]):
        tokens[row, length:] = 50.0
    spoiled = backbone.encode_text(
        features_of(tokens, text.features.table.lengths, text.features.pooled, text.features.summary)
    )
    before, after = (backbone.fuse(image, side, attention=True) for side in (text, spoiled))
    torch.testing.assert_close(after.matching_logit, before.matching_logit)
    assert before.attention is not None
    assert after.attention is not None
    torch.testing.assert_close(after.attention.text_image, before.attention.text_image)


def test_a_pair_is_fused_alike_alone_and_beside_longer_captions(
    backbone: Backbone, sides: tuple[Side, Side]
) -> None:
    image, text = sides
    together = backbone.fuse(image, text)
    for row in range(3):
        alone = backbone.fuse(image.take(torch.tensor([row])), text.take(torch.tensor([row])))
        torch.testing.assert_close(alone.pooled[0], together.pooled[row])


@pytest.mark.parametrize("layers", [1, 2])
def test_one_image_goes_with_several_texts_as_its_copies_do(layers: int) -> None:
    torch.manual_seed(0)
    settings = SETTINGS.model_copy(update={"fusion_layers": layers})
    backbone = Backbone(settings, WIDTHS, temperature=0.07).eval()
    image = backbone.encode_image(random_features(2, 9, 6, 5, 11, [9, 6])).take(torch.tensor([1]))
    text = backbone.encode_text(random_features(3, 5, 4, 3, 9, [5, 2, 1]))
    one, copies = backbone.fuse(image, text), backbone.fuse(image.take(torch.zeros(3, dtype=torch.long)), text)
    torch.testing.assert_close(one.pooled, copies.pooled)
    torch.testing.assert_close(one.matching_logit, copies.matching_logit)


def test_each_attention_block_is_row_stochastic_on_real_tokens_and_zero_elsewhere(
    backbone: Backbone, sides: tuple[Side, Side]
) -> None:
    blocks = backbone.fuse(*sides, attention=True).attention
    assert blocks is not None
    cases: list[tuple[Tensor, Tensor, Tensor]] = [
        (blocks.text_text, blocks.text_mask, blocks.text_mask),
        (blocks.image_image, blocks.image_mask, blocks.image_mask),
        (blocks.text_image, blocks.text_mask, blocks.image_mask),
        (blocks.image_text, blocks.image_mask, blocks.text_mask),
    ]
    for block, rows, columns in cases:
        torch.testing.assert_close(block.sum(-1), rows.float())
        assert (block >= 0).all()
        assert (block.masked_select(~columns[:, None, :].expand_as(block)) == 0).all()


def test_each_block_has_its_own_softmax_of_the_last_layer(backbone: Backbone, sides: tuple[Side, Side]) -> None:
    """Slow twin: rebuild the hidden states by hand, then loop over pairs, heads and rows."""
    image, text = sides
    blocks = backbone.fuse(image, text, attention=True).attention
    assert blocks is not None
    first, last = backbone.fusion
    hidden: list[Tensor] = []
    hook = first.register_forward_hook(lambda module, inputs, output: hidden.append(output))
    backbone.fuse(image, text)
    hook.remove()
    query, key, _ = last.query_key_value(last.attention_norm(hidden[0])).chunk(3, dim=-1)
    head_width = 8 // 2
    for pair, length in enumerate([5, 2, 1]):
        words, regions = range(1, 1 + length), range(6, 6 + 9)
        cases = [
            (blocks.text_text, words, words),
            (blocks.image_image, regions, regions),
            (blocks.text_image, words, regions),
            (blocks.image_text, regions, words),
        ]
        for block, rows, columns in cases:
            for i, row in enumerate(rows):
                expected = torch.zeros(len(columns))
                for head in range(2):
                    part = slice(head * head_width, (head + 1) * head_width)
                    scores = torch.stack(
                        [query[pair, row, part] @ key[pair, column, part] / head_width**0.5 for column in columns]
                    )
                    expected += scores.softmax(0) / 2
                torch.testing.assert_close(block[pair, i, : len(columns)], expected)


def test_attention_is_not_rounded_under_autocast(backbone: Backbone, sides: tuple[Side, Side]) -> None:
    """Close to what it is without (tokens are rounded all the same), in float32, and its rows sum to 1 exactly."""
    with torch.autocast("cpu", torch.bfloat16):
        rounded = backbone.fuse(*sides, attention=True).attention
    exact = backbone.fuse(*sides, attention=True).attention
    assert rounded is not None
    assert exact is not None
    for name in ("text_text", "image_image", "text_image", "image_text"):
        block = getattr(rounded, name)
        assert block.dtype == torch.float32
        torch.testing.assert_close(block.sum(-1), getattr(exact, name).sum(-1), rtol=0, atol=1e-6)
        torch.testing.assert_close(block, getattr(exact, name), rtol=0, atol=0.02)


def test_what_is_learned_on_fused_vectors_reaches_the_embeddings(
    backbone: Backbone, sides: tuple[Side, Side]
) -> None:
    backbone.fuse(*sides).matching_logit.sum().backward()
    for tower in (backbone.image, backbone.text):
        gradient = tower.linear.weight.grad
        assert gradient is not None
        assert gradient.abs().sum() > 0


def test_the_last_layer_gives_its_first_token_without_computing_the_others(backbone: Backbone) -> None:
    torch.manual_seed(2)
    layer, hidden = backbone.fusion[-1], torch.randn(3, 6, 8)
    mask = torch.arange(6) < torch.tensor([6, 3, 1])[:, None]
    torch.testing.assert_close(layer.first_token(hidden, mask), layer(hidden, mask)[:, 0])


def test_a_temperature_that_an_update_took_out_of_its_bounds_is_brought_back_and_can_go_on_moving(
    backbone: Backbone,
) -> None:
    for raw, bound in ((1.0, 1.0), (-9.0, 0.01)):
        backbone.log_temperature.data.fill_(raw)
        backbone.project()
        assert backbone.temperature.item() == pytest.approx(bound)
        assert torch.autograd.grad(backbone.temperature, backbone.log_temperature)[0] > 0
