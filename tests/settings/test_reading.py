"""An entry of `method` may take over another one, and what cannot be resolved is named."""

from pathlib import Path

import pytest
import yaml

from relalign.errors import RelalignError
from relalign.settings.reading import inherited, load_params, parse_params

REPOSITORY = Path(__file__).parents[2]
METHODS = {
    "first": {"algorithm": "covlr", "step_size": 0.5, "clusters": 8},
    "second": {"of": "first", "step_size": 0.25},
    "third": {"of": "second", "clusters": 4},
}


def test_an_entry_takes_over_what_it_does_not_say_itself() -> None:
    assert inherited(METHODS, "third") == {"algorithm": "covlr", "step_size": 0.25, "clusters": 4}
    assert inherited(METHODS, "first") == METHODS["first"]


def test_a_variant_of_the_repository_differs_only_in_what_it_says() -> None:
    methods = load_params(REPOSITORY / "params.yaml").method
    one, other = (methods[name].model_dump() for name in ("iais", "iais-ranking"))
    assert {key for key in one if one[key] != other[key]} == {"task"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{of: covlrr}", "method.variant.of: 'covlrr' is not an entry of 'method'"),
        ("{of: variant}", "method.variant.of: leads back to itself (variant -> variant)"),
        ("{of: covlr, step_sise: 1.0}", "method.variant.step_sise: unknown key; did you mean 'step_size'?"),
        ("{step_size: 1.0}", "method.variant"),
        ("3", "method.variant"),
    ],
)
def test_an_entry_that_cannot_be_resolved_is_named(tmp_path: Path, change: str, message: str) -> None:
    text = (REPOSITORY / "params.yaml").read_text()
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("\n  cca: ", f"\n  variant: {change}\n  cca: ", 1))
    with pytest.raises(RelalignError, match="params.yaml") as caught:
        load_params(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epoch", 4, "params.yaml: training.epoch: unknown key; did you mean 'epochs'?"),
        ("epochs", "3", "params.yaml: training.epochs: "),
        ("epochs", 2.0, "params.yaml: training.epochs: "),
        ("epochs", 0, "params.yaml: training.epochs: "),
        ("learning_rate", float("nan"), "params.yaml: training.learning_rate: "),
    ],
)
def test_an_unknown_key_a_wrong_type_and_an_impossible_value_are_named_by_their_path(
    key: str, value: object, message: str
) -> None:
    raw = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    raw["training"][key] = value
    with pytest.raises(RelalignError) as caught:
        parse_params(raw)
    assert message in str(caught.value)
