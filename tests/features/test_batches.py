import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from relalign.features.batches import SplitData
from relalign.features.table import Table, features_of


def split_of(captions_per_image: list[int], *, seed: int = 0) -> SplitData:
    generator = torch.Generator().manual_seed(seed)
    image_ids = np.arange(len(captions_per_image)) * 3 + 1
    owners = np.repeat(image_ids, captions_per_image)
    owners = owners[torch.randperm(len(owners), generator=generator).numpy()]

    def features(rows: int) -> tuple[torch.Tensor, ...]:
        lengths = torch.randint(1, 4, (rows,), generator=generator)
        tokens = torch.randn(rows, 3, 4, generator=generator).half()
        return tokens, lengths, torch.randn(rows, 5), torch.randn(rows, 6)

    image, text = features_of(*features(len(image_ids))), features_of(*features(len(owners)))
    return SplitData.build(image_ids, np.arange(len(owners)) * 2, owners, image, text)


captions_per_image = st.lists(st.integers(1, 5), min_size=1, max_size=30)


@given(captions_per_image, st.integers(2, 9), st.integers(0, 99))
def test_an_epoch_holds_every_image_once_with_two_of_its_own_captions(
    counts: list[int], batch_size: int, seed: int
) -> None:
    data = split_of(counts, seed=seed)
    owner = dict(zip(data.caption_ids.tolist(), data.image_ids[data.image_of_caption].tolist(), strict=True))
    row_of_caption = dict(zip(data.caption_ids.tolist(), data.text.rows.tolist(), strict=True))
    caption_of_row = {row: caption for caption, row in row_of_caption.items()}
    seen: list[int] = []
    for batch in data.epoch(batch_size, torch.Generator().manual_seed(seed)):
        images = batch.image_ids.tolist()
        assert len(set(images)) == len(images) >= 2
        seen += images
        for i, image in enumerate(images):
            caption = int(batch.caption_ids[i])
            other = caption_of_row[int(batch.other_text.rows[i])]
            assert owner[caption] == owner[other] == image
            assert int(batch.text.rows[i]) == row_of_caption[caption]
            alone = counts[data.image_ids.tolist().index(image)] == 1
            assert (caption == other) == alone
    assert len(set(seen)) == len(seen) == (len(counts) if len(counts) > 1 else 0)  # one image has no negative


@given(st.integers(2, 500), st.integers(2, 100))
def test_batches_of_an_epoch_are_of_equal_size_near_the_one_asked_for(images: int, batch_size: int) -> None:
    data = split_of([1] * images)
    sizes = [len(batch.image_ids) for batch in data.epoch(batch_size, torch.Generator().manual_seed(0))]
    assert len(sizes) == data.batches(batch_size)
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= max(1.5 * batch_size + 1, 3)


def test_captions_are_grouped_by_image_and_keep_their_own_features() -> None:
    caption_ids, owners = np.array([10, 11, 12, 13, 14]), np.array([4, 1, 4, 9, 1])
    vectors = torch.from_numpy(caption_ids).float()[:, None]
    image = features_of(
        torch.zeros(3, 1, 1), torch.ones(3, dtype=torch.long), torch.zeros(3, 1), torch.zeros(3, 1)
    )
    text = features_of(vectors[:, None], torch.ones(5, dtype=torch.long), vectors, vectors)
    data = SplitData.build(np.array([1, 4, 9]), caption_ids, owners, image, text)
    assert data.caption_ids.tolist() == [11, 14, 10, 12, 13]
    assert data.image_of_caption.tolist() == [0, 0, 1, 1, 2]
    assert data.text.pooled[:, 0].tolist() == data.text.tokens()[0][:, 0, 0].tolist() == [11, 14, 10, 12, 13]


def test_every_caption_of_an_image_is_drawn_about_equally_often_and_so_is_every_other_one() -> None:
    data = split_of([4, 1])
    images = torch.zeros(4000, dtype=torch.long)
    batch = data.batch(images, torch.Generator().manual_seed(0))
    for rows in (batch.text.rows, batch.other_text.rows):
        _, counts = rows.unique(return_counts=True)
        assert len(counts) == 4
        assert (counts - 1000).abs().max() < 150


@given(captions_per_image, st.integers(2, 6), st.integers(0, 99))
def test_further_captions_are_those_of_the_image_that_are_not_in_the_batch_yet(
    counts: list[int], captions: int, seed: int
) -> None:
    data = split_of(counts)
    batch = data.batch(torch.arange(len(counts)), torch.Generator().manual_seed(seed), captions=captions)
    owner = dict(zip(data.text.rows.tolist(), data.image_of_caption.tolist(), strict=True))
    texts = (batch.text, batch.other_text, *batch.further_texts)
    assert len(texts) == captions
    for image, count in enumerate(counts):
        rows = [int(text.rows[image]) for text in texts]
        assert {owner[row] for row in rows} == {image}
        assert len(set(rows)) == min(captions, count)


def test_more_captions_change_neither_the_first_two_nor_the_draws() -> None:
    data = split_of([5, 3, 4])
    few, many = (
        data.batch(torch.arange(3), torch.Generator().manual_seed(1), caption_mixing=0.5, captions=n)
        for n in (2, 5)
    )
    assert torch.equal(few.text.summary, many.text.summary)
    assert torch.equal(few.other_text.rows, many.other_text.rows)


def test_gather_cuts_to_the_longest_row_asked_for() -> None:
    table = Table(torch.zeros(3, 6, 2).half(), torch.tensor([2, 4, 1]), torch.zeros(3, 1), torch.zeros(3, 1))
    tokens, mask = table.gather(torch.tensor([2, 0]))
    assert tokens.shape == (2, 2, 2)
    assert mask.tolist() == [[True, False], [True, True]]


def test_a_caption_of_an_unknown_image_is_refused() -> None:
    features = features_of(
        torch.zeros(2, 1, 1).half(), torch.ones(2, dtype=torch.long), torch.zeros(2, 1), torch.zeros(2, 1)
    )
    with pytest.raises(ValueError, match="not among image_ids"):
        SplitData.build(np.array([1, 2]), np.array([0, 1]), np.array([1, 3]), features, features)


def test_caption_mixing_moves_vectors_towards_the_other_caption_and_leaves_tokens_alone() -> None:
    data = split_of([3, 2, 4])
    images = torch.arange(3)
    plain, mixed = (
        data.batch(images, torch.Generator().manual_seed(5), caption_mixing=mixing) for mixing in (0.0, 0.5)
    )
    assert mixed.text.rows.tolist() == plain.text.rows.tolist()
    way = plain.other_text.pooled - plain.text.pooled
    fraction = ((mixed.text.pooled - plain.text.pooled) * way).sum(1) / way.square().sum(1)
    assert ((fraction > 0) & (fraction < 0.5)).all()
    for name in ("pooled", "summary"):
        own, other, moved = (getattr(side, name) for side in (plain.text, plain.other_text, mixed.text))
        expected = torch.stack([torch.lerp(own[i], other[i], fraction[i]) for i in range(3)])
        torch.testing.assert_close(moved, expected)
