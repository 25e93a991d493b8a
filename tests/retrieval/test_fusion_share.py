from pathlib import Path

import pytest
import torch

from relalign.methods.model_files import build_method
from relalign.retrieval.fusion_share import SHARES, choose_fusion_share
from relalign.training.split_data import load_split, open_stores, widths_of
from tests.tiny_project import make_features, tiny_params


@pytest.fixture
def trained(tmp_path: Path):
    params = tiny_params()
    layout = make_features(tmp_path, params)
    widths = widths_of(*open_stores(params, layout))
    method = build_method(params.method["contrastive"], params.backbone, widths, seed=0).eval()
    return method.backbone, load_split(params, layout, "val", device=torch.device("cpu"))


def test_a_head_that_knows_the_right_answers_is_trusted(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, data = trained
    fuse = backbone.fuse

    def fused_with_answers(image, text, **options):
        owners = data.image_of_caption[torch.searchsorted(data.text.rows, text.features.rows)]
        right = owners == torch.searchsorted(data.image.rows, image.features.rows)
        monkeypatch.setattr(backbone.matching, "forward", lambda pooled: 100.0 * right.float()[:, None])
        return fuse(image, text, **options)

    monkeypatch.setattr(backbone, "fuse", fused_with_answers)
    choose_fusion_share(backbone, data, candidates=16)
    assert backbone.fusion_share.item() > 0


def test_a_head_that_says_nothing_gets_no_share(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, data = trained
    monkeypatch.setattr(backbone.matching, "forward", lambda pooled: torch.zeros(len(pooled), 1))
    choose_fusion_share(backbone, data, candidates=16)
    assert backbone.fusion_share.item() == SHARES[0]


def test_the_share_weighs_fusions_own_part_of_the_logit(trained) -> None:
    backbone, data = trained
    rows = torch.arange(4)
    sides = backbone.encode_image(data.image.take(rows)), backbone.encode_text(data.text.take(rows))
    logits = []
    for share in (0.0, 1.0, 0.5):
        backbone.fusion_share.fill_(share)
        logits.append(backbone.fuse(*sides).matching_logit)
    torch.testing.assert_close(logits[2], (logits[0] + logits[1]) / 2)
    similarity = (sides[0].embedding * sides[1].embedding).sum(1)
    expected = (similarity - backbone.matching_offset) / backbone.temperature
    torch.testing.assert_close(logits[0], expected)
