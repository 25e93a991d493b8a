import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relalign.objectives.attention_alignment import distributed, entropy, singular, soft
from tests.twins.objectives import slow_alignment

TOO_LONG = 3  # how many padding tokens are added on each side


def _stochastic(generator, rows, columns, *, tied=False):
    logits = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return (logits.round() if tied else 2 * logits).softmax(1)


def _pair(generator, n, m, *, tied=False):
    shapes = ((n, n), (m, m), (n, m), (m, n))
    return [_stochastic(generator, *shape, tied=tied) for shape in shapes]


def _padded(pairs, lengths, filler):
    n, m = (max(sides) + TOO_LONG for sides in zip(*lengths, strict=True))
    blocks = [torch.full((len(pairs), *shape), filler).double() for shape in ((n, n), (m, m), (n, m), (m, n))]
    for index, pair in enumerate(pairs):
        for block, own in zip(blocks, pair, strict=True):
            block[index, : own.shape[0], : own.shape[1]] = own
    text_mask, image_mask = (
        torch.arange(size) < torch.tensor(sides)[:, None]
        for size, sides in zip((n, m), zip(*lengths, strict=True), strict=True)
    )
    return blocks, {"text_mask": text_mask, "image_mask": image_mask}


def _fast(kind, blocks, anchor, **options):
    ll, vv, lv, vl = blocks
    if kind == "distributed":
        return distributed(ll, vv, lv, vl, anchor=anchor, **options)
    function = {"singular": singular, "soft": soft, "entropy": entropy}[kind]
    return function(ll, vv, lv if anchor == "text" else vl, anchor=anchor, **options)


def _slow(kind, pair, anchor, **options):
    ll, vv, lv, vl = (block.tolist() for block in pair)
    arguments = (ll, vv, lv, vl) if anchor == "text" else (vv, ll, vl, lv)
    return slow_alignment(kind, *arguments, **options)


VARIANTS = [
    ("singular", {}),
    ("singular", {"renormalise": True}),
    ("distributed", {}),
    ("soft", {}),
    ("entropy", {}),
]


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
@pytest.mark.parametrize("anchor", ["text", "image"])
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 999),
    lengths=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=4),
    tied=st.booleans(),
)
def test_padded_batch_equals_a_loop_over_pairs(kind, options, anchor, seed, lengths, tied):
    generator = torch.Generator().manual_seed(seed)
    pairs = [_pair(generator, n, m, tied=tied) for n, m in lengths]
    blocks, masks = _padded(pairs, lengths, filler=0.0)
    slow = [_slow(kind, pair, anchor, **options) for pair in pairs]
    each = _fast(kind, blocks, anchor, per_pair=True, **masks, **options)
    torch.testing.assert_close(each, torch.tensor(slow).double(), atol=1e-6, rtol=0)
    mean = _fast(kind, blocks, anchor, **masks, **options)
    assert mean.item() == pytest.approx(sum(slow) / len(slow), abs=1e-6)
    single = _fast(kind, pairs[0], anchor, **options)
    assert single.item() == pytest.approx(slow[0], abs=1e-6)


@pytest.mark.parametrize("anchor", ["text", "image"])
def test_one_to_one_alignment_costs_nothing_only_when_renormalised(anchor):
    generator = torch.Generator().manual_seed(0)
    order = torch.tensor([2, 0, 3, 1])
    vv = _stochastic(generator, 4, 4)
    lv = torch.eye(4).double()[order]
    blocks = (vv[order][:, order], vv, lv, lv.T)
    assert _fast("singular", blocks, anchor, renormalise=True).item() == pytest.approx(0, abs=1e-9)
    assert _fast("singular", blocks, anchor).item() > 0.01


def test_words_mapped_to_one_region_all_get_its_self_attention_evenly():
    ll = torch.full((3, 3), 1 / 3)
    vv = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    lv = torch.tensor([[0.9, 0.1]]).expand(3, 2)
    assert singular(ll, vv, lv, anchor="text").item() == pytest.approx(0, abs=1e-6)


def test_identity_links_make_the_round_trip_the_identity():
    eye = torch.eye(3)
    for anchor in ("text", "image"):
        assert distributed(eye, eye, eye, eye, anchor=anchor).item() == pytest.approx(0, abs=1e-5)


def test_distance_by_hand():
    own, other = torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([[0.8, 0.2], [0.5, 0.5]])
    divergence = 0.3 * math.log(0.5 / 0.8) * -1 + 0.3 * math.log(0.5 / 0.2)
    value = distributed(own, own, torch.eye(2), other, anchor="text")
    assert value.item() == pytest.approx(divergence / 2, abs=1e-5)


@pytest.mark.parametrize("kind", ["singular", "distributed", "soft", "entropy"])
@pytest.mark.parametrize("anchor", ["text", "image"])
def test_is_never_negative_and_its_gradient_is_finite_at_zeros(kind, anchor):
    generator = torch.Generator().manual_seed(1)
    hard = [torch.nn.functional.one_hot(block.argmax(1), block.shape[1]) for block in _pair(generator, 4, 5)]
    leaves = [block.double().requires_grad_() for block in hard]
    value = _fast(kind, leaves, anchor)
    assert value.item() >= 0
    value.backward()
    assert all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in leaves)


def test_gradient_flows_through_both_sides_and_soft_holds_its_links():
    generator = torch.Generator().manual_seed(2)
    leaves = [block.requires_grad_() for block in _pair(generator, 3, 4)]
    ll, vv, lv, vl = leaves
    found = torch.autograd.grad(distributed(ll, vv, lv, vl, anchor="text"), (ll, lv, vl))
    assert all(gradient.abs().sum() > 0 for gradient in found)
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(singular(ll, vv, lv, anchor="text"), (ll, vv)))
    gradients = torch.autograd.grad(soft(ll, vv, lv, anchor="text"), (ll, vv, lv), allow_unused=True)
    assert [gradient is None for gradient in gradients] == [False, False, True]


@pytest.mark.parametrize("anchor", ["text", "image"])
def test_entropy_asks_how_flat_rows_are_and_not_where_they_look(anchor):
    """Turned within its rows, attention has the same entropies and other places: only `singular` sees it."""
    pair = _pair(torch.Generator().manual_seed(3), 4, 4)
    mine = 0 if anchor == "text" else 1
    turned = [block.roll(1, dims=1) if place == mine else block for place, block in enumerate(pair)]
    assert _fast("entropy", turned, anchor).item() == pytest.approx(_fast("entropy", pair, anchor).item())
    assert abs(_fast("singular", turned, anchor).item() - _fast("singular", pair, anchor).item()) > 0.01


def test_squared_difference_of_entropies_by_hand():
    """Words that all look at one region are compared with a uniform row; theirs look at one word alone."""
    ll, lv = torch.eye(4), torch.tensor([[1.0, 0.0]]).expand(4, 2)
    value = entropy(ll, torch.full((2, 2), 0.5), lv, anchor="text")
    assert value.item() == pytest.approx(math.log(4) ** 2, rel=1e-5)


def test_a_pair_without_real_tokens_counts_as_zero():
    blocks = [torch.zeros(1, 2, 2) for _ in range(4)]
    masks = {name: torch.zeros(1, 2, dtype=torch.bool) for name in ("text_mask", "image_mask")}
    for kind in ("singular", "distributed", "soft", "entropy"):
        assert _fast(kind, blocks, "text", **masks).item() == 0.0


@pytest.mark.parametrize("kind", ["singular", "distributed", "soft", "entropy"])
def test_products_of_attention_are_not_rounded_under_autocast(kind):
    blocks = [block.float() for block in _pair(torch.Generator().manual_seed(0), 5, 7)]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = _fast(kind, blocks, "text")
    torch.testing.assert_close(rounded, _fast(kind, blocks, "text"))
