"""What the study's rules call, beside its search: corrupted features, and one run of a variant."""

from pathlib import Path

from relalign.evaluation.stage import evaluate
from relalign.features.extraction import extract_features
from relalign.settings import Params
from relalign.study.layout import StudyLayout
from relalign.study.record import read_search
from relalign.study.settings import CLEAN, Study, changed, corruption_of, only
from relalign.training.runs import export, train


def make_corrupted_features(params: Params, study: Study, root: Path, *, dataset: str, condition: str) -> None:
    """Publish the features of the one modality that a condition corrupts."""
    layout = StudyLayout.of(root, dataset, condition, params)
    encoder = str(layout.corrupted)
    extract_features(
        params.encoder[encoder],
        layout.encoder(encoder),
        layout.pairs,
        layout.features(encoder),
        params.features,
        root=root,
        max_pixels=params.validate_.max_pixels,
        corruption=corruption_of(condition),
    )


def run_variant(
    params: Params,
    study: Study,
    root: Path,
    *,
    dataset: str,
    condition: str,
    variant: str,
    seed: int,
    search: Path,
) -> None:
    """Train, export and evaluate one variant: its method as tuned (in the record `search`), and its changes."""
    layout, chosen = StudyLayout.of(root, dataset, condition, params), study.variants[variant]
    change = {**read_search(root / search).chosen(chosen.of), **chosen.change}
    if condition != CLEAN:
        change |= study.sweep.change
    one = only(params, dataset, variant, changed(params, study, chosen.of, change, where=f"variants.{variant}"))
    train(one, layout, method=variant, seed=seed)
    export(one, layout, method=variant, seed=seed)
    evaluate(one, layout, method=variant, seed=seed)
