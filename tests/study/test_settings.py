from pathlib import Path

import pytest
import yaml

from relalign.errors import RelalignError
from relalign.params import load_params
from relalign.study.settings import corruption_of, load_study, method_with, training_of
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
    assert len({len(trials) for trials in study.search.trials.values()}) == 1
    assert len(study.seeds) >= 5


@pytest.mark.parametrize(
    ("keys", "value", "named"),
    [
        (("datasets",), ["nowhere"], "datasets: 'nowhere' is not an entry"),
        (("search", "trials", "covlr"), [{}], "as many trials"),
        (("search", "trials", "covlr", 1), {"stepsize": 1.0}, r"search\.trials\.covlr\.1.*stepsize.*step_size"),
        (("search", "trials", "unheard"), [{}, {}, {}], "'unheard' is not an entry of 'method'"),
        (("variants", "covlr-sum"), {"of": "covlr", "change": {"meta_order": "zeroth"}}, r"variants\.covlr-sum"),
        (("variants", "wide"), {"of": "iais", "datasets": ["nowhere"]}, r"variants\.wide\.datasets: 'nowhere'"),
        (("variants", "deep"), {"of": "iais", "backbone": {"layers": 3}}, r"variants\.deep\.backbone.*layers"),
        (("variants", "long"), {"of": "iais", "training": {"epochs": 0}}, r"variants\.long\.training.*epochs"),
        (("evaluate",), {"rerank": 3}, "evaluate.*rerank"),
        (("variants", "new"), {"of": "iais-ranking"}, "no entry in search.trials"),
        (("training",), {"epoch": 3}, "training.*epoch"),
        (("sweep", "kinds"), {"image": "drop"}, "kind"),
        (("margins",), {}, "margins.*margin"),
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
    changed = method_with(PARAMS, "covlr", {"meta_order": "none"}, where="here")
    assert changed.meta_order == "none"
    assert changed.relation_weight == PARAMS.method["covlr"].relation_weight


def test_the_budget_is_params_with_the_studys_changes() -> None:
    training = training_of(PARAMS, small_study(training={"epochs": 3}))
    assert training == PARAMS.training.model_copy(update={"epochs": 3})


def test_a_variant_has_the_studys_seeds_and_datasets_unless_it_names_its_own() -> None:
    study = small_study(variants={"a": {"of": "cca"}, "b": {"of": "cca", "seeds": [7], "datasets": ["flickr8k"]}})
    assert study.runs_on("flickr8k") == {"a": (0, 1), "b": (7,)}
    assert study.runs_on("openmoji") == {"a": (0, 1)}


def test_a_condition_names_its_corruption() -> None:
    corruption = corruption_of("image-patches-40")
    assert (corruption.modality, corruption.kind, corruption.rate) == ("image", "patches", 0.4)
    assert corruption_of("clean") is None
