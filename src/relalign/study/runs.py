"""What the study's rules call, beside its search: a condition's own features, and one run of a variant."""

from pathlib import Path

from relalign.evaluation.stage import evaluate
from relalign.features.extraction import extract_features
from relalign.settings import Params
from relalign.study.layout import StudyLayout
from relalign.study.record import read_search
from relalign.study.settings import Study, corruption_of, cuts_of, params_of, with_cuts
from relalign.training.runs import export, train


def make_features(params: Params, study: Study, root: Path, *, dataset: str, condition: str, encoder: str) -> None:
    """Publish an encoder's features under a condition: of corrupted inputs, or below a regime's cut."""
    layout = StudyLayout.of(root, dataset, condition, params)
    extract_features(
        with_cuts(params, **cuts_of(study, condition))[encoder],
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
    one = params_of(params, study, dataset, (variant, condition), read_search(root / search).chosen(chosen.of))
    train(one, layout, method=variant, seed=seed)
    export(one, layout, method=variant, seed=seed)
    evaluate(one, layout, method=variant, seed=seed)
