from pathlib import Path

import pytest
import yaml

from relalign.errors import RelalignError
from relalign.settings import load_params
from relalign.study.record import current_search, kept_path, read_search
from relalign.study.settings import Tuning, Variant, budget_of, changed, corruption_of, load_study
from tests.study.results_on_disk import small_study

ROOT = Path(__file__).parents[2]
PARAMS = load_params(ROOT / "params.yaml")


def _with(path: Path, *keys: str | int, value: object) -> Path:
    """The repository's study.yaml with one value replaced."""
    content = yaml.safe_load((ROOT / "study.yaml").read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_repositorys_study_fits_its_params() -> None:
    study = load_study(ROOT / "study.yaml", PARAMS)
    assert len({len(tuning.trials) for tuning in study.search.methods.values()}) == 1
    assert len(study.seeds) >= 5


@pytest.mark.parametrize("dataset", load_study(ROOT / "study.yaml", PARAMS).datasets)
def test_the_kept_search_is_that_of_the_repositorys_settings(dataset: str) -> None:
    study = load_study(ROOT / "study.yaml", PARAMS)
    path = kept_path(ROOT, dataset)
    assert current_search(PARAMS, study, ROOT, dataset) == path, "run `make search`"
    record = read_search(path)
    assert record.methods.keys() == study.search.methods.keys()
    for method, tuning in study.search.methods.items():
        found = record.methods[method]
        for place, (trial, change) in enumerate(zip(found, tuning.trials, strict=True)):
            before = [found[earlier] for earlier in tuning.earlier(place)]
            known = max(before, key=lambda one: one.score).change if before else {}
            assert trial.change == {**known, **change}


@pytest.mark.parametrize(
    ("keys", "value", "named"),
    [
        (("datasets",), ["nowhere"], "datasets: 'nowhere' is not an entry"),
        (("search", "methods", "covlr", "axes"), [], "as many trials"),
        (("search", "methods", "iais", "axes", 1, 0), {"weight": 1.0}, r"methods\.iais\.axes\.1\.0.*weight"),
        (("search", "methods", "covlr", "start"), {"stepsize": 1.0}, r"covlr\.start.*stepsize.*step_size"),
        (("search", "methods", "unheard"), {}, "'unheard' is not an entry of 'method'"),
        (("search", "methods", "iais", "start"), {"training.rate": 1.0}, r"iais\.start\.training.*rate"),
        (("search", "methods", "iais", "start"), {"trainings.epochs": 1}, r"iais\.start.*trainings\.epochs"),
        (("variants", "covlr-sum"), {"of": "covlr", "change": {"meta_order": "zeroth"}}, r"variants\.covlr-sum"),
        (("variants", "wide"), {"of": "iais", "datasets": ["nowhere"]}, r"variants\.wide\.datasets: 'nowhere'"),
        (("variants", "deep"), {"of": "iais", "change": {"backbone.layers": 3}}, r"change\.backbone.*layers"),
        (("variants", "long"), {"of": "iais", "change": {"training.epochs": 0}}, r"change\.training.*epochs"),
        (("evaluate",), {"rerank": 3}, "evaluate.*rerank"),
        (("variants", "new"), {"of": "iais-ranking"}, "no entry in search.methods"),
        (("training",), {"epoch": 3}, "training.*epoch"),
        (("sweep", "kinds"), {"image": "drop"}, "kind"),
        (("margins",), {}, "margins.*margin"),
        (
            ("variants", "taught"),
            {"of": "covlr", "change": {"teacher": "trained"}},
            r"variants\.taught\.change: teacher: a study trains no teachers",
        ),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, keys: tuple, value: object, named: str) -> None:
    with pytest.raises(RelalignError, match=named):
        load_study(_with(tmp_path / "study.yaml", *keys, value=value), PARAMS)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RelalignError, match=r"study\.yaml does not exist"):
        load_study(tmp_path / "study.yaml", PARAMS)
    (tmp_path / "study.yaml").write_text("a: [")
    with pytest.raises(RelalignError, match="not valid YAML"):
        load_study(tmp_path / "study.yaml", PARAMS)


def test_a_change_leaves_the_other_settings_as_they_are() -> None:
    found = changed(PARAMS, small_study(), "covlr", {"meta_order": "none"}, where="here")
    assert found.method == PARAMS.method["covlr"].model_copy(update={"meta_order": "none"})
    assert found.backbone == PARAMS.backbone


def test_the_budget_is_params_with_the_studys_changes() -> None:
    assert budget_of(PARAMS, small_study(training={"epochs": 3})) == PARAMS.training.model_copy(
        update={"epochs": 3}
    )


def test_a_key_with_its_section_changes_the_model_or_the_studys_training() -> None:
    study = small_study(training={"epochs": 3, "batch_size": 8})
    change = {"training.batch_size": 10, "backbone.width": 8, "temperature": 0.5}
    found = changed(PARAMS, study, "iais", change, where="here")
    assert found.training == PARAMS.training.model_copy(update={"epochs": 3, "batch_size": 10})
    assert found.backbone == PARAMS.backbone.model_copy(update={"width": 8})
    assert found.method.temperature == 0.5


def test_a_variant_with_a_model_or_budget_of_its_own_is_not_comparable() -> None:
    own = {"training.epochs": 3}, {"training.batch_size": 8}, {"backbone.width": 8}
    assert not any(Variant(of="iais", change=change).comparable for change in own)
    tuned = {"temperature": 0.5}, {"training.learning_rate": 0.1}
    assert all(Variant(of="iais", change=change).comparable for change in tuned)


def test_a_trial_builds_on_all_that_come_before_its_axis() -> None:
    tuning = Tuning(start={"a": 0}, axes=[[{"a": 1}, {"a": 2}], [{"b": 1}], [{"c": 1}, {"c": 2}]])
    assert tuning.trials == [{"a": 0}, {"a": 1}, {"a": 2}, {"b": 1}, {"c": 1}, {"c": 2}]
    assert [len(tuning.earlier(trial)) for trial in range(6)] == [0, 1, 1, 3, 4, 4]


def test_a_variant_has_the_studys_seeds_and_datasets_unless_it_names_its_own() -> None:
    study = small_study(variants={"a": {"of": "cca"}, "b": {"of": "cca", "seeds": [7], "datasets": ["flickr8k"]}})
    assert study.runs_on("flickr8k") == {"a": (0, 1), "b": (7,)}
    assert study.runs_on("openmoji") == {"a": (0, 1)}
    regime = {"trained": {"datasets": ["openmoji"], "variants": ["a", "c"], "seeds": [4]}}
    study = small_study(variants={"a": {"of": "cca"}, "c": {"of": "cca", "datasets": []}}, regimes=regime)
    assert {where: seeds for where, seeds in study.planned("openmoji").items() if where[0] == "c"} == {
        ("c", "trained"): (4,)
    }


def test_a_condition_names_its_corruption() -> None:
    corruption = corruption_of("image-patches-40")
    assert (corruption.modality, corruption.kind, corruption.rate) == ("image", "patches", 0.4)
    assert corruption_of("clean") is None
