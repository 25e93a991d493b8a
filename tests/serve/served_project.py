"""A tiny project with trained, exported runs, as the search serves them."""

from pathlib import Path

import pandas as pd
import yaml

from relalign.layout import Layout
from relalign.settings import Params
from relalign.system.artifacts import publish
from relalign.training.runs import export, train
from tests.trained_project import make_project, trained_params

METHODS = ("contrastive", "cca")
SCRIPT = '<script>document.title = "taken"</script><img src=x onerror="document.title = \'taken\'">'


def make_served(root: Path, *, cut: bool = False, script: bool = False) -> tuple[Params, Layout]:
    """Pictures, captions and the runs of `METHODS` under `root`, with a params.yaml.

    With `cut` the encoders train; with `script` the first caption of the test split is one.
    """
    cuts = {} if cut else {"image": None, "text": None}
    params = trained_params(**cuts, methods=list(METHODS), seeds=[0], training={"epochs": 2})
    layout = make_project(root, params)
    for method in METHODS:
        train(params, layout, method=method, seed=0)
        export(params, layout, method=method, seed=0)
    raw = params.model_dump(mode="json", by_alias=True, exclude_unset=True)
    (root / "params.yaml").write_text(yaml.safe_dump(raw))
    if script:
        pairs = pd.read_parquet(layout.pairs / "pairs.parquet")
        pairs.loc[pairs.index[pairs["split"] == "test"][0], "caption"] = SCRIPT
        with publish(layout.pairs, made_by="tests") as draft:
            pairs.to_parquet(draft / "pairs.parquet", index=False)
    return params, layout
