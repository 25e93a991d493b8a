"""The study's curves in the report of the dataset that they are about."""

import base64
from pathlib import Path

from relalign.layout import Layout
from relalign.report.plots import study_figures

SVG = '<svg xmlns="http://www.w3.org/2000/svg"><text>"&lt;b&gt;</text></svg>'


def test_curves_of_spoilt_captions_and_images_are_shown_whole_with_a_text_for_who_cannot_see_them(
    tmp_path: Path,
) -> None:
    layout = Layout(tmp_path, "birds")
    layout.study_picture("text").parent.mkdir(parents=True)
    layout.study_picture("text").write_text(SVG)
    layout.study_picture("image").write_text(SVG)
    captions, images = study_figures(layout)
    assert base64.b64encode(SVG.encode()).decode() in captions.svg
    assert f'alt="{captions.caption}"' in captions.svg
    assert "captions are spoilt" in captions.caption
    assert "images are spoilt" in images.caption


def test_a_dataset_that_was_not_swept_has_no_curves(tmp_path: Path) -> None:
    other = Layout(tmp_path, "birds").study_picture("text")
    other.parent.mkdir(parents=True)
    other.write_text(SVG)
    assert study_figures(Layout(tmp_path, "fish")) == []
