"""The study runs by the real tools, and stays out of the pipeline's way."""

import json

import pytest
import yaml

from tests.workflow.clone import Clone, executed_by_snakemake

pytestmark = pytest.mark.workflow

STUDY = {
    "datasets": ["tiny"],
    "seeds": [0],
    "training": {"epochs": 2, "validate_every": 1},
    "evaluate": {"rerank_depth": 2},
    "search": {
        "methods": {"contrastive": {"axes": [[{"training.learning_rate": 0.01}], [{"temperature": 0.2}]]}},
    },
    "variants": {"contrastive": {"of": "contrastive"}},
    "sweep": {
        "datasets": ["tiny"],
        "kinds": {"text": "drop"},
        "rates": [0.5],
        "variants": ["contrastive"],
        "seeds": [0],
    },
    "regimes": {
        "trained": {
            "datasets": ["tiny"],
            "text": "layer.1",
            "variants": ["contrastive"],
            "seeds": [0],
            "change": {"training.epochs": 1},
            "search": {"contrastive": {"axes": [[{"temperature": 0.2}]]}},
        },
    },
    "margin": {"rsum": 3.0},
    "least_seeds": {"headline": 2, "others": 2},
    "permutations": 99,
}


def test_the_study_goes_from_search_to_findings_and_the_pipeline_stays_as_it_was(project: Clone) -> None:
    (project.root / "study.yaml").write_text(yaml.safe_dump(STUDY))
    project.snakemake("study")
    findings = (project.root / "docs/findings.md").read_text()
    assert "not planned (no covlr)" in findings
    results = project.root / "results/tiny/study"
    for condition in ("clean", "text-drop-50", "trained"):
        assert (results / condition / "contrastive/seed0/metrics.json").is_file()
    assert (project.root / "data/study/tiny/text-drop-50/tiny-bert/manifest.json").is_file()
    assert (results / "search/contrastive-trial2/seed0/validation.json").is_file()
    of_regime = json.loads((results / "search_trained.json").read_text())["methods"]["contrastive"]
    assert [trial["change"]["training.epochs"] for trial in of_regime] == [1, 1]
    assert "temperature" in of_regime[1]["change"]
    project.snakemake("search")
    assert (project.root / "docs/search/tiny-trained.json").is_file()
    assert (project.root / "docs/search/tiny.json").read_text() == (results / "search.json").read_text()
    assert "Nothing to be done" in project.snakemake("study")
    # What is kept counts without its results; what has been asked for since is made.
    pages, kept = project.contents("docs/findings"), project.contents("docs/study")
    project.run("rm", "-rf", "results/tiny/study")
    assert executed_by_snakemake(project.snakemake("study")) >= {"docs/findings.md"}
    assert not list((project.root / "results/tiny").glob("study/*/*/seed0/metrics.json"))
    assert (project.contents("docs/findings"), project.contents("docs/study")) == (pages, kept)
    more = STUDY | {"seeds": [0, 1]}
    (project.root / "study.yaml").write_text(yaml.safe_dump(more))
    project.snakemake("study")
    (made,) = (project.root / "results/tiny").glob("study/*/*/seed*/metrics.json")
    assert made.parent == results / "clean/contrastive/seed1"
    # The report shows the study's pictures: it alone is made anew.
    pages = {f"results/tiny/{name}" for name in ("report.html", "comparison.svg", "examples.svg")}
    assert executed_by_snakemake(project.snakemake()) <= pages
    assert "Nothing to be done" in project.snakemake()
    assert "Data and pipelines are up to date" in project.dvc("status")


def test_a_study_that_does_not_fit_stops_only_the_study(project: Clone) -> None:
    (project.root / "study.yaml").write_text(yaml.safe_dump(STUDY | {"datasets": ["nowhere"]}))
    assert "Nothing to be done" in project.snakemake()
    assert "datasets: 'nowhere' is not an entry" in project.snakemake("study", succeeds=False)
