"""docs/findings.md says what the results say, names what was not run, and is the same bytes every time."""

import json
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from relalign.errors import RelalignError
from relalign.metrics.significance import holm
from relalign.report.comparison_table import number
from relalign.settings import load_params
from relalign.study.claims import Claim, all_claims
from relalign.study.contrast import Contrast
from relalign.study.findings import write_findings
from relalign.study.judging import Part, judge, judge_claims
from relalign.study.layout import StudyLayout
from relalign.study.results import Results
from relalign.study.settings import CLEAN, load_study, picture_names
from relalign.study.tables import signed
from tests.runs_on_disk import random_embeddings, write_evaluated_run
from tests.study.results_on_disk import quick_params, small_study, write_study

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A made-up study without covlr-sum (and without the variants that it does not name), and its findings."""
    root = tmp_path_factory.mktemp("study")
    write_study(root, small_study())
    write_findings(quick_params(), small_study(), root)
    return root


@pytest.fixture(scope="module")
def findings(project):
    return {name: judge_claims(_results(project, name)) for name in small_study().datasets}


def _results(root, dataset):
    return Results(quick_params(), small_study(), root, dataset)


def _rows(root, heading):
    """The cells of the first table below a heading, without its head."""
    text = (root / "docs/findings.md").read_text().split(f"{heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", text, flags=re.MULTILINE).group().strip().split("\n")
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def _metrics(root, dataset, variant, condition=CLEAN):
    layout = StudyLayout.of(root, dataset, condition, quick_params())
    return [json.loads((layout.run(variant, seed) / "metrics.json").read_text()) for seed in (0, 1)]


def _last_mixes(root, condition):
    """Rebalanced's mix at the end of each training on Flickr8k."""
    layout = StudyLayout.of(root, "flickr8k", condition, quick_params())
    return [pd.read_csv(layout.run("rebalanced", seed) / "model/history.csv")["mix"].iloc[-1] for seed in (0, 1)]


def test_the_same_results_give_the_same_bytes(project, tmp_path):
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    write_findings(quick_params(), small_study(), tmp_path)
    for path in (project / "docs").rglob("*.*"):
        assert (tmp_path / path.relative_to(project)).read_bytes() == path.read_bytes()


def test_every_claim_is_in_every_table(project):
    numbers = {str(place + 1) for place in range(len(all_claims()))}
    assert [row[0] for row in _rows(project, "## Which claims hold")] == sorted(numbers, key=int)
    for dataset in small_study().datasets:
        assert {row[0] for row in _rows(project, f"### {dataset}: the claims, tested")} == numbers


def test_what_lacks_runs_is_not_run(project, findings):
    for dataset, of_dataset in findings.items():
        results = _results(project, dataset)
        for finding in of_dataset:
            claim = finding.claim
            names = {claim.variant, *claim.references} if claim.test == "difference" else {claim.variant}
            absent = {name for name in names if name and not results.seeds((name, CLEAN))}
            absent |= {"corrupted"} if claim.test in ("growth", "mix") and dataset == "openmoji" else set()
            planned = names <= {"", *small_study().runs_on(dataset)} and "corrupted" not in absent
            assert (finding.verdict in ("not run", "not planned")) == bool(absent)
            assert (finding.verdict == "not planned") == (not planned)
    rows = {row[0]: row for row in _rows(project, "### openmoji: all variants")}
    assert set(rows["`covlr-sum`"][2:]) == {"not run"}
    assert rows["`covlr-sum`"][1] == "0"


def test_holm_is_over_all_claims_of_a_dataset(findings):
    for of_dataset in findings.values():
        tested = [finding for finding in of_dataset if finding.parts]
        raw = [max(part.contrast.p for part in finding.parts) for finding in tested]
        assert [finding.p for finding in tested] == pytest.approx(holm(np.array(raw)).tolist())


def test_a_claim_of_several_needs_all_of_them(findings):
    for of_dataset in findings.values():
        for finding in (one for one in of_dataset if len(one.parts) > 1):
            assert (finding.verdict == "reproduced") == all(one.verdict == "reproduced" for one in finding.parts)


def test_numbers_of_the_main_table_are_the_metrics(project):
    rows = {row[0].strip("`"): row for row in _rows(project, "### flickr8k: all variants")}
    for variant in ("cca", "consensus"):
        runs = _metrics(project, "flickr8k", variant)
        for column, metric in ((2, "i2t/recall@1"), (4, "rsum"), (5, "i2i/ndcg@10")):
            values = [run[metric] for run in runs]
            expected = f"{number(np.mean(values))} ± {number(np.std(values, ddof=1))}<br>"
            assert rows[variant][column].startswith(expected)
    assert rows["cca"][-1] == rows["cca"][-3] == "–"


def test_a_growing_gain_is_a_difference_of_differences(project):
    (row,) = (
        row
        for row in _rows(project, "### flickr8k: the claims, tested")
        if row[2] == "Rsum" and row[3].endswith("poor images against clean")
    )
    rsum = {
        (variant, condition): np.array([run["rsum"] for run in _metrics(project, "flickr8k", variant, condition)])
        for variant in ("rebalanced", "contrastive")
        for condition in (CLEAN, "image-patches-60")
    }
    gain = {c: rsum["rebalanced", c] - rsum["contrastive", c] for c in (CLEAN, "image-patches-60")}
    grown = gain["image-patches-60"] - gain[CLEAN]
    assert row[4:6] == ["2", signed(grown.mean())]
    assert row[7] == number(np.std(grown, ddof=1))


def test_the_mix_is_the_last_epochs(project):
    rows = _rows(project, "### flickr8k: poor images, poor captions")
    (row,) = (row for row in rows if row[:3] == ["text", "0.20", "`rebalanced`"])
    assert row[-1].startswith(number(np.mean(_last_mixes(project, "text-drop-20"))))


def test_the_change_of_the_mix_is_poor_less_clean(project):
    (row,) = (
        row
        for row in _rows(project, "### flickr8k: the claims, tested")
        if row[2] == "text teacher's share" and row[3].startswith("poor captions")
    )
    assert row[5] == signed(np.mean(_last_mixes(project, "text-drop-60")) - np.mean(_last_mixes(project, CLEAN)))


def test_a_learned_trust_in_images_is_the_text_teachers_share_from_the_other_side(project):
    results = _results(project, "openmoji")
    trust = results.history(("consensus", CLEAN), 0)["image_trust"].iloc[-1]
    assert results.text_share(("consensus", CLEAN), 0) == pytest.approx(1 - trust)
    assert results.text_share(("contrastive", CLEAN), 0) is None


def test_mean_ndcg_is_of_both_modalities(project):
    rows = _rows(project, "### flickr8k: poor images, poor captions")
    (row,) = (row for row in rows if row[:3] == ["text", "0.20", "`contrastive`"])
    runs = _metrics(project, "flickr8k", "contrastive", "text-drop-20")
    expected = np.mean([run[f"{side}/ndcg@10"] for run in runs for side in ("i2i", "t2t")])
    assert row[5].startswith(number(expected))


def test_one_refuted_part_refutes_a_claim_and_an_undecided_one_leaves_it_open():
    claim = Claim("a paper", "is better at both", "one", ("rsum", "i2i/ndcg@10"), ("other",))
    better, worse = Contrast(5.0, 4.0, 6.0, 0.001), Contrast(-5.0, -6.0, -4.0, 0.001)
    unclear = Contrast(0.0, -9.0, 9.0, 0.9)
    for contrasts, p, expected in (
        ((better, better), 0.001, "reproduced"),
        ((better, worse), 0.001, "not reproduced"),
        ((better, unclear), 0.9, "inconclusive"),
    ):
        parts = [Part(metric, "other", one) for metric, one in zip(claim.metrics, contrasts, strict=True)]
        assert judge(claim, parts, p, small_study()).verdict == expected


def test_checkpoints_leave_out_the_start(project):
    rows = _rows(project, "means little unless it is stronger with the alignment than without it.")
    attentive = ("contrastive", "covlr", "rebalanced", "iais", "iais-off", "consensus")
    assert {row[0]: row[1:3] for row in rows} == {f"`{name}`": ["2", "5"] for name in attentive}
    assert {row[3] for row in rows} == {"−1.00 (−1.00 to −1.00)"}  # made up so: ISD falls as Rsum rises


def test_the_correlation_over_variants_is_of_one_budget(project):
    assert "`contrastive-long`" in {row[0] for row in _rows(project, "### flickr8k: all variants")}
    rows = _rows(project, "### flickr8k: attention distance and retrieval")
    assert {row[2] for row in rows} == {"6"}  # all but cca, covlr-sum, contrastive-long


def test_a_variant_is_in_the_tables_of_its_own_datasets_only(project):
    assert "`contrastive-long`" not in {row[0] for row in _rows(project, "### openmoji: all variants")}


def test_the_search_shows_every_trial_and_the_choice(project):
    rows = _rows(project, "### openmoji: all trials, on validation")
    assert len(rows) == 12
    assert [row[-1] for row in rows] == ["", "yes"] * 6
    assert rows[1][1] == "**power 0.5**"
    assert rows[2][2:] == ["96.00", ""]
    settings = {(row[0], row[1]): row[2:] for row in _rows(project, "## Tuning")}
    assert settings["`covlr`", "`temperature`"] == ["0.05", "0.03", "0.03", "0.03"]
    rate = str(quick_params().training.learning_rate)
    assert settings["`iais`", "`training.learning_rate`"] == [rate, "0.002", "0.002", "0.002"]


def test_pictures_are_those_that_snakemake_expects_and_stand_alone(project):
    study = small_study()
    names = {
        f"{name}.svg"
        for dataset in study.datasets
        for name in picture_names(study, dataset, quick_params().report.baseline)
    }
    assert {path.name for path in (project / "docs/study").iterdir()} == names
    page = (project / "docs/findings.md").read_text()
    for name in names:
        content = (project / "docs/study" / name).read_text()
        assert ET.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(" not in content
        assert f"](study/{name})" in page


def test_the_first_picture_is_of_what_has_the_baselines_budget_and_seeds(project):
    shown = (project / "docs/study/flickr8k-gains.svg").read_text()
    others = {"cca", "covlr", "rebalanced", "iais", "iais-off", "consensus"}
    assert others <= set(re.findall(r">([a-z-]+)</text>", shown))
    assert "contrastive-long" not in shown  # longer
    assert "covlr-sum" not in shown  # not run


def test_nothing_run_is_a_page_all_the_same(tmp_path):
    params = load_params(REPOSITORY / "params.yaml")
    write_findings(params, load_study(REPOSITORY / "study.yaml", params), tmp_path)
    rows = _rows(tmp_path, "## Which claims hold")
    assert len(rows) == len(all_claims())
    assert all(cell.startswith(("not run", "not planned")) for row in rows for cell in row[4:])
    assert not (tmp_path / "docs/images").exists()


def test_notes_are_taken_in_as_they_are(project, tmp_path):
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    (tmp_path / "docs/findings-notes.md").write_text("Tried *this*.\n\n- and that\n")
    write_findings(quick_params(), small_study(), tmp_path)
    page = (tmp_path / "docs/findings.md").read_text()
    assert "## What was tried, and what we make of it\n\nTried *this*.\n\n- and that\n\n## How it was done" in page


def test_a_seed_that_one_side_lacks_is_left_out_for_both(project, tmp_path):
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    layout = StudyLayout.of(tmp_path, "openmoji", CLEAN, quick_params())
    shutil.rmtree(layout.run("contrastive", 1))
    (first,) = [
        one for one in judge_claims(_results(tmp_path, "openmoji")) if one.claim.references == ("contrastive",)
    ][:1]
    (part,) = first.parts
    values = [_metrics(project, "openmoji", name)[0][part.metric] for name in ("covlr", "contrastive")]
    assert part.contrast.difference == pytest.approx(values[0] - values[1])
    assert part.contrast.seed_sd is None


def test_runs_on_other_queries_are_refused(project, tmp_path):
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    layout = StudyLayout.of(tmp_path, "openmoji", CLEAN, quick_params())
    shutil.rmtree(layout.run("cca", 1) / "evaluation")
    write_evaluated_run(layout.run("cca", 1), random_embeddings(images=7))
    with pytest.raises(RelalignError, match="different queries"):
        _results(tmp_path, "openmoji")
