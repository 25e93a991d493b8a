"""The picture of one pair's attention: drawn where both runs have it, absent where not."""

import json
import shutil
from pathlib import Path

from relalign.layout import Layout
from relalign.report.plots import attention_figure
from relalign.settings import Params
from relalign.settings.methods.iais import Iais


def test_baseline_and_iais_are_drawn_side_by_side(finished: tuple[Params, Layout], tmp_path: Path) -> None:
    params, given = finished
    aligned = params.model_copy(update={"method": params.method | {"good": Iais(algorithm="iais")}})
    shutil.copytree(given.root, tmp_path / "copy")
    layout = Layout(tmp_path / "copy", given.dataset)
    assert attention_figure(aligned, layout) is None
    for name in ("contrastive", "good"):
        pair = {"caption": "a <red> disc", "words": ["a", "<red>", "disc"]}
        pair |= dict.fromkeys(("words_to_words", "through_regions"), [[0.2, 0.3, 0.5]] * 3)
        (layout.run(name, 0) / "evaluation/attention.json").write_text(json.dumps(pair))
    figure = attention_figure(aligned, layout)
    assert figure is not None
    assert figure.svg.count("&lt;red&gt;") == 8  # on both sides of four squares
    assert "contrastive: among words" in figure.svg
    assert "“a <red> disc”" in figure.caption  # the page escapes it
    assert attention_figure(params, layout) is None
