from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from relalign.errors import RelalignError
from relalign.methods.zero_shot import ZeroShotEmbedder
from relalign.model.backbone import Widths
from relalign.retrieval.embeddings import load_embeddings
from relalign.training.runs import export, train
from tests.trained_project import make_project, trained_params


@pytest.mark.parametrize("cut", [None, "layer.1"])
def test_embeddings_are_the_joint_models_own_projections_cut_or_not(tmp_path: Path, cut: str | None) -> None:
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    params = trained_params(image=cut, text=cut, method={"zero-shot": {"algorithm": "zero_shot"}})
    layout = make_project(tmp_path, params, joint="clip")
    train(params, layout, method="zero-shot", seed=0)
    export(params, layout, method="zero-shot", seed=0)
    found = load_embeddings(layout.run("zero-shot", 0) / "embeddings")
    folder = tmp_path / "checkpoints/image"
    model, processor = CLIPModel.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder, backend="pil")
    tokeniser = AutoTokenizer.from_pretrained(folder)
    pairs = pd.read_parquet(layout.pairs / "pairs.parquet").set_index("caption_id")
    with torch.inference_mode():
        for row, caption in enumerate(found.text_ids):
            asked = tokeniser(pairs.loc[caption, "caption"], return_tensors="pt", return_token_type_ids=False)
            vector = model.get_text_features(**asked).pooler_output[0].numpy()
            np.testing.assert_allclose(found.text[row], vector / np.linalg.norm(vector), atol=1e-5)
        for row, image in enumerate(found.image_ids):
            path = tmp_path / pairs.loc[pairs["image_id"] == image, "image_path"].iloc[0]
            pixels = processor(images=Image.open(path), return_tensors="pt")["pixel_values"]
            vector = model.get_image_features(pixel_values=pixels).pooler_output[0].numpy()
            np.testing.assert_allclose(found.image[row], vector / np.linalg.norm(vector), atol=1e-5)


def test_encoders_without_a_common_space_are_refused_with_both_widths() -> None:
    with pytest.raises(RelalignError, match=r"encoders.image gives 9 numbers and encoders.text 7"):
        ZeroShotEmbedder(Widths(12, 9, 15, 10, 7, 14))
