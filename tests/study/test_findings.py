"""docs/findings.md and its appendix say what the kept runs say, and name what was not run."""

import json
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from relalign.errors import RelalignError
from relalign.metrics.significance import holm
from relalign.report.comparison_table import number
from relalign.settings import load_params
from relalign.study.claims import Claim, claims_by_page, headline
from relalign.study.findings import read_notes, recount, write_findings
from relalign.study.judging import judge_claims
from relalign.study.kept import keep_runs, kept_paths
from relalign.study.layout import StudyLayout
from relalign.study.results import Results
from relalign.study.settings import CLEAN, load_study, picture_names
from relalign.study.tables import signed
from relalign.study.verdicts import ask
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
    return {name: _judged(_results(project, name)) for name in small_study().datasets}


def _judged(results):
    """The findings of all pages, a page after the other."""
    pages = claims_by_page().values()
    return [one for claims in pages for one in judge_claims([(claim,) for claim in claims], results, 2)]


def _results(root, dataset):
    return Results(quick_params(), small_study(), root, dataset)


def _rows(root, page, heading):
    """The cells of the first table below a heading, without its head."""
    text = (root / "docs" / page).read_text().split(f"{heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", text, flags=re.MULTILINE).group().strip().split("\n")
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def _claims(root, page, dataset):
    """The rows of a page's comparisons, the head of each claim repeated."""
    rows, head = [], []
    for row in _rows(root, f"findings/{page}.md", f"## {dataset}"):
        head = row[:3] if row[0] else head
        rows.append([*head, *row[3:]])
    return rows


def _metrics(root, dataset, variant, condition=CLEAN):
    layout = StudyLayout.of(root, dataset, condition, quick_params())
    return [json.loads((layout.run(variant, seed) / "metrics.json").read_text()) for seed in (0, 1)]


def _last_mixes(root, condition):
    """Rebalanced's mix at the end of each training on Flickr8k."""
    layout = StudyLayout.of(root, "flickr8k", condition, quick_params())
    return [pd.read_csv(layout.run("rebalanced", seed) / "model/history.csv")["mix"].iloc[-1] for seed in (0, 1)]


def test_a_recount_by_what_is_kept_alone_finds_every_page_as_it_was(project, tmp_path, capsys):
    shutil.copytree(project / "docs", tmp_path / "docs")
    before = {path: path.read_bytes() for path in (tmp_path / "docs").rglob("*.*")}
    recount(quick_params(), small_study(), tmp_path)
    printed = capsys.readouterr().out
    assert printed.endswith("All pages were as they are.\n")
    assert printed.count("\n") == 1 + len(headline()) * len(small_study().datasets)
    assert {path: path.read_bytes() for path in (tmp_path / "docs").rglob("*.*")} == before


def test_every_claim_is_in_the_table_of_its_page_and_every_row_in_the_headline(project):
    for dataset in small_study().datasets:
        for page, claims in claims_by_page().items():
            assert {row[2] for row in _claims(project, page, dataset)} == {claim.sentence for claim in claims}
    rows = _rows(project, "findings.md", "## Which claims hold")
    assert [row[1] for row in rows] == [row.sentence for row in headline()]
    assert len(rows) <= 12


def test_what_lacks_runs_is_not_run(project, findings):
    for dataset, of_dataset in findings.items():
        results = _results(project, dataset)
        for finding in of_dataset:
            (claim,) = finding.claims
            swept = claim.test in ("poor", "slope", "mix")
            names = {claim.variant, *claim.references} - {""}
            planned = names <= set(small_study().runs_on(dataset)) and not (swept and dataset == "openmoji")
            run = planned and all(results.seeds((name, CLEAN)) for name in names)
            assert (finding.verdict in ("not run", "not planned")) == (not run)
            assert (finding.verdict == "not planned") == (not planned)
    rows = {row[0]: row for row in _rows(project, "findings/variants.md", "With 1 caption a step:")}
    assert set(rows["`covlr-sum`"][2:]) == {"not run"}
    assert rows["`covlr-sum`"][1] == "0"


def test_holm_is_over_all_claims_of_a_page_and_dataset(project):
    for dataset in small_study().datasets:
        results = _results(project, dataset)
        for claims in claims_by_page().values():
            tested = [one for one in judge_claims([(claim,) for claim in claims], results, 2) if one.p is not None]
            margins = small_study().margin
            raw = [
                max(
                    ask(part.contrast, part.claim.margin(part.metric, margins), part.claim.kind).holds
                    for part in one.parts
                )
                for one in tested
            ]
            assert [one.p for one in tested] == pytest.approx(holm(np.array(raw)).tolist())


def test_unequally_many_captions_a_step_are_not_compared_unless_a_claim_says_so(project):
    results = _results(project, "openmoji")
    assert (results.captions("consensus"), results.captions("contrastive")) == (5, 1)
    claim = Claim("ours", "ahead", "consensus", ("rsum",), ("contrastive",))
    (refused,) = judge_claims([(claim,)], results, 2)
    assert refused.verdict == "not comparable"
    assert refused.missing == "consensus sees 5, contrastive sees 1 a step"
    (marked,) = judge_claims([(replace(claim, unlike_captions=True),)], results, 2)
    assert marked.parts
    (equal,) = judge_claims([(replace(claim, variant="consensus-one-caption"),)], results, 2)
    assert equal.parts
    assert "`consensus`" not in {
        row[0] for row in _rows(project, "findings/variants.md", "With 1 caption a step:")
    }


def test_with_fewer_seeds_than_asked_for_nothing_is_claimed(project):
    results = _results(project, "openmoji")
    claim = Claim("CoVLR", "keeps", "consensus-one-caption", ("rsum",), ("contrastive",))
    enough, too_few = (judge_claims([(claim,)], results, least)[0] for least in (2, 3))
    assert enough.p is not None
    assert (too_few.verdict, too_few.p) == ("inconclusive", None)
    assert too_few.parts[0].contrast == enough.parts[0].contrast


def test_a_claim_of_several_needs_all_of_them(findings):
    for of_dataset in findings.values():
        for finding in (one for one in of_dataset if len(one.parts) > 1 and not one.missing):
            assert (finding.verdict == "reproduced") == all(one.verdict == "reproduced" for one in finding.parts)


def test_numbers_of_the_main_table_are_the_metrics(project):
    rows = {row[0].strip("`"): row for row in _rows(project, "findings/variants.md", "## flickr8k")}
    for variant in ("cca", "consensus-one-caption"):
        runs = _metrics(project, "flickr8k", variant)
        for column, metric in ((2, "i2t/recall@1"), (4, "rsum"), (5, "i2i/ndcg@10")):
            values = [run[metric] for run in runs]
            expected = f"{number(np.mean(values))} ± {number(np.std(values, ddof=1))}<br>"
            assert rows[variant][column].startswith(expected)
    assert rows["cca"][-1] == rows["cca"][-3] == "–"


def test_a_growing_gain_is_the_slope_of_its_line_over_the_range_of_rates(project):
    (row,) = (
        row
        for row in _claims(project, "rebalanced", "flickr8k")
        if row[4] == "Rsum" and row[5].endswith("growth from clean to poor images")
    )
    conditions = (CLEAN, "image-patches-20", "image-patches-60")
    rsum = {
        (variant, condition): np.array([run["rsum"] for run in _metrics(project, "flickr8k", variant, condition)])
        for variant in ("rebalanced", "contrastive")
        for condition in conditions
    }
    gains = np.array([rsum["rebalanced", one] - rsum["contrastive", one] for one in conditions])
    grown = 0.6 * np.polyfit([0.0, 0.2, 0.6], gains, 1)[0]
    assert row[6].startswith("2 seeds")
    assert row[7] == signed(grown.mean())
    assert row[9] == number(np.std(grown, ddof=1))


def test_the_mix_is_the_last_epochs(project):
    rows = _rows(project, "findings/rebalanced.md", "### flickr8k: poor images, poor captions")
    (row,) = (row for row in rows if row[:3] == ["text", "0.20", "`rebalanced`"])
    assert row[-1].startswith(number(np.mean(_last_mixes(project, "text-drop-20"))))


def test_the_change_of_the_mix_is_poor_less_clean(project):
    (row,) = (
        row
        for row in _claims(project, "rebalanced", "flickr8k")
        if row[4] == "text teacher's share" and row[5].startswith("poor captions")
    )
    assert row[7] == signed(np.mean(_last_mixes(project, "text-drop-60")) - np.mean(_last_mixes(project, CLEAN)))


def test_a_learned_trust_in_images_is_the_text_teachers_share_from_the_other_side(project):
    results = _results(project, "openmoji")
    trust = results.history(("consensus", CLEAN), 0)["image_trust"].iloc[-1]
    assert results.text_share(("consensus", CLEAN), 0) == pytest.approx(1 - trust)
    assert results.text_share(("contrastive", CLEAN), 0) is None


def test_mean_ndcg_is_of_both_modalities(project):
    rows = _rows(project, "findings/rebalanced.md", "### flickr8k: poor images, poor captions")
    (row,) = (row for row in rows if row[:3] == ["text", "0.20", "`contrastive`"])
    runs = _metrics(project, "flickr8k", "contrastive", "text-drop-20")
    expected = np.mean([run[f"{side}/ndcg@10"] for run in runs for side in ("i2i", "t2t")])
    assert row[5].startswith(number(expected))


def test_checkpoints_leave_out_the_start(project):
    rows = _rows(
        project, "findings/iais.md", "means little unless it is stronger with the alignment than without it."
    )
    attentive = ("contrastive", "covlr", "rebalanced", "iais", "iais-off", "consensus", "consensus-one-caption")
    assert {row[0]: row[1:3] for row in rows} == {f"`{name}`": ["2", "5"] for name in attentive}
    assert {row[3] for row in rows} == {"−1.00 (−1.00 to −1.00)"}  # made up so: ISD falls as Rsum rises


def test_the_correlation_over_variants_is_of_one_budget(project):
    assert "`contrastive-long`" in {row[0] for row in _rows(project, "findings/variants.md", "## flickr8k")}
    rows = _rows(project, "findings/iais.md", "### flickr8k: attention distance and retrieval")
    assert {row[2] for row in rows} == {"6"}  # all but cca, covlr-sum, contrastive-long, consensus


def test_a_variant_is_in_the_tables_of_its_own_datasets_only(project):
    assert "`contrastive-long`" not in {row[0] for row in _rows(project, "findings/variants.md", "## openmoji")}


def test_the_search_shows_every_trial_and_the_choice(project):
    rows = _rows(project, "findings/tuning.md", "## openmoji: all trials, on validation")
    assert len(rows) == 12
    assert [row[-1] for row in rows] == ["", "yes"] * 6
    assert rows[1][1] == "**power 0.5**"
    assert rows[2][2:] == ["96.00", ""]
    settings = {
        (row[0], row[1]): row[2:] for row in _rows(project, "findings/tuning.md", "The settings that were varied:")
    }
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
    assert {path.name for path in (project / "docs/study").glob("*.svg")} == names
    page = "".join(path.read_text() for path in (project / "docs/findings").iterdir())
    for name in names:
        content = (project / "docs/study" / name).read_text()
        assert ET.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(" not in content
        assert f"](../study/{name})" in page


def test_the_first_picture_is_of_what_has_the_baselines_budget_and_seeds(project):
    shown = (project / "docs/study/flickr8k-gains.svg").read_text()
    others = {"cca", "covlr", "rebalanced", "iais", "iais-off", "consensus-one-caption"}
    assert others <= set(re.findall(r">([a-z-]+)</text>", shown))
    assert "contrastive-long" not in shown  # longer
    assert "covlr-sum" not in shown  # not run
    assert ">consensus<" not in shown  # sees more captions a step


def test_nothing_run_is_a_page_all_the_same(tmp_path):
    params = load_params(REPOSITORY / "params.yaml")
    write_findings(params, load_study(REPOSITORY / "study.yaml", params), tmp_path)
    rows = _rows(tmp_path, "findings.md", "## Which claims hold")
    assert len(rows) == len(headline())
    assert all(cell.startswith(("not run", "not planned", "not comparable")) for row in rows for cell in row[2:4])
    assert not (tmp_path / "docs/images").exists()


def test_notes_and_the_premises_picture_are_taken_into_the_pages(project, tmp_path):
    assert "premise-flickr8k" not in (project / "docs/findings.md").read_text()
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    notes = tmp_path / "docs/findings-notes.md"
    notes.write_text("## why\n\n2. Because\n   so.\n\n## limits\n\nFew *images*.\n\n## iais\n\nFlat.\n")
    (tmp_path / "docs/study/premise-flickr8k.svg").write_text("<svg/>")
    recount(quick_params(), small_study(), tmp_path)
    assert "](study/premise-flickr8k.svg)" in (tmp_path / "docs/findings.md").read_text()
    rows = _rows(tmp_path, "findings.md", "## Which claims hold")
    assert [row[4] for row in rows][:3] == ["–", "Because so.", "–"]
    assert "## Limits\n\nFew *images*.\n" in (tmp_path / "docs/findings.md").read_text()
    assert (tmp_path / "docs/findings/iais.md").read_text().endswith("\n\nFlat.\n")


def test_a_section_of_the_notes_that_no_page_takes_is_named(tmp_path):
    (tmp_path / "notes.md").write_text("## iasi\n\nFlat.\n")
    with pytest.raises(RelalignError, match="'iasi' is no section"):
        read_notes(tmp_path / "notes.md")


def test_a_seed_that_one_side_lacks_is_left_out_for_both(project, tmp_path):
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    layout = StudyLayout.of(tmp_path, "openmoji", CLEAN, quick_params())
    shutil.rmtree(layout.run("contrastive", 1))
    for file in kept_paths(tmp_path, "openmoji"):
        file.unlink()
    keep_runs(quick_params(), small_study(), tmp_path, "openmoji")
    judged = _judged(_results(tmp_path, "openmoji"))
    (first,) = [one for one in judged if one.claims[0].references == ("contrastive",) and one.parts][:1]
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
        keep_runs(quick_params(), small_study(), tmp_path, "openmoji")
