"""Training in several processes: the same gradients, the same files, and an end when one of them ends."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from relalign.features.batches import Batch
from relalign.features.table import Features
from relalign.layout import Layout
from relalign.methods.method import TrainedMethod
from relalign.settings import Params
from relalign.training.runs import starting_method
from relalign.training.split_data import load_split
from tests.methods.batches import gradients, loss_of, make_batch, make_method
from tests.trained_project import make_project, trained_params
from tests.training.together import together

CPU = torch.device("cpu")
METHODS = {
    "contrastive": {"algorithm": "contrastive"},
    "covlr": {"algorithm": "covlr", "meta_order": "none"},
    "covlr-first": {"algorithm": "covlr", "meta_order": "first", "step_size": 0.1},
    "covlr-second": {"algorithm": "covlr", "meta_order": "second", "step_size": 0.1, "relation_of": "fused"},
    "rebalanced": {"algorithm": "rebalanced", "stage_one": 0.2},
    "iais": {"algorithm": "iais"},
    "iais-ranking": {"algorithm": "iais", "task": "ranking", "ranking_queries": 5, "alignment": "singular"},
    "consensus": {"algorithm": "consensus", "attention_weight": 1.0},
}
ROWS = 13  # which two processes share unequally
Step = tuple[dict[str, Tensor], dict[str, Tensor]]


def step_of(method: TrainedMethod, batch: Batch) -> Step:
    terms = loss_of(method, batch, progress=0.9)
    found = gradients(method, terms)
    return {name: term.detach() for name, term in terms.items()}, found


def frozen(name: str) -> Step:
    method = make_method(**METHODS[name]).double()
    batch = replace(make_batch(ROWS, dtype=torch.float64), contrasted=2)
    return step_of(method, batch)


def trained(name: str, layout: Layout, params: Params) -> Step:
    """Of encoders that train, without dropout, whose numbers two processes draw otherwise than one."""
    data = load_split(params, layout, "train", device=CPU)
    method, _, _ = starting_method(params, layout, params.method[name], data, seed=0)
    for encoder in method.trained_encoders.values():
        encoder.rows_at_once = 4 if name == "contrastive" else 0
    wide = {side: _in_float64(getattr(data, side)) for side in ("image", "text")}
    batch = replace(data, **wide).batch(
        torch.arange(ROWS), torch.Generator().manual_seed(0), captions=3, contrasted=2
    )
    return step_of(method.double().eval(), batch)


def _in_float64(features: Features) -> Features:
    wide = {name: getattr(features.table, name).double() for name in ("tokens", "pooled", "summary")}
    return replace(features, table=replace(features.table, **wide))


def all_methods(step: Callable[..., Step], *arguments: object) -> dict[str, Step]:
    return {name: step(name, *arguments) for name in METHODS}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Step]]]:
    """Of frozen features and of encoders that train: the step of one process, then those of two."""
    params = trained_params(method=METHODS, methods=["contrastive"])
    layout = make_project(tmp_path_factory.mktemp("project"), params)
    frozen_ones, trained_ones = (all_methods, frozen), (all_methods, trained, layout, params)
    return {
        "frozen features": [frozen_ones[0](*frozen_ones[1:]), *together(*frozen_ones)],
        "encoders that train": [trained_ones[0](*trained_ones[1:]), *together(*trained_ones)],
    }


@pytest.mark.parametrize("features", ["frozen features", "encoders that train"])
@pytest.mark.parametrize("name", METHODS)
def test_two_processes_have_the_losses_and_gradients_of_one_in_float64(
    name: str, features: str, found: dict[str, list[dict[str, Step]]]
) -> None:
    (terms, whole), *of_each = (steps[name] for steps in found[features])
    assert whole
    for own_terms, own in of_each:
        assert own.keys() == whole.keys()
        for term, value in terms.items():
            torch.testing.assert_close(own_terms[term], value, rtol=1e-11, atol=1e-13)
        for parameter, gradient in whole.items():
            assert gradient.dtype == torch.float64
            torch.testing.assert_close(own[parameter], gradient, rtol=1e-9, atol=1e-12)
