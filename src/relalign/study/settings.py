"""The frozen, typed view of study.yaml, and what a trial or a variant comes to in the terms of params.yaml."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from relalign.errors import RelalignError
from relalign.params import (
    Backbone,
    Corruption,
    Evaluate,
    Fraction,
    Method,
    Name,
    NonNegativeCount,
    Params,
    Section,
    Training,
    explain,
)

Changes = dict[str, Any]
S = TypeVar("S", bound=Section)
CLEAN = "clean"
Modality = Literal["image", "text"]
ALIGNED = ("iais", "iais-off")


class Variant(Section):
    """A method of params.yaml, as tuned, with some of its settings changed: an ablation.

    `backbone` and `training` change those sections for this variant alone. `seeds` and `datasets` are its own if
    it is not to be run with all of the study's.
    """

    of: Name
    change: Changes = {}
    backbone: Changes = {}
    training: Changes = {}
    seeds: Annotated[tuple[NonNegativeCount, ...], Field(strict=False, min_length=1)] | None = None
    datasets: Annotated[tuple[Name, ...], Field(strict=False, min_length=1)] | None = None


class Search(Section):
    """Tuning on validation: as many trials for every method, each a change to its section of params.yaml."""

    seed: NonNegativeCount = 0
    trials: dict[Name, list[Changes]]


class Sweep(Section):
    """One modality made worse and worse: `kinds` names the corruption of each modality (see `Corruption`)."""

    datasets: tuple[Name, ...] = Field(strict=False)
    kinds: dict[Modality, str]
    rates: tuple[Fraction, ...] = Field(strict=False)
    variants: tuple[Name, ...] = Field(strict=False)
    seeds: tuple[NonNegativeCount, ...] = Field(strict=False)


class Study(Section):
    """All of study.yaml.

    `training` and `evaluate` change those sections for all methods alike; `margin` is the smallest difference
    worth having, by metric, for the verdicts.
    """

    datasets: tuple[Name, ...] = Field(strict=False)
    seeds: Annotated[tuple[NonNegativeCount, ...], Field(strict=False, min_length=1)]
    training: Changes = {}
    evaluate: Changes = {}
    search: Search
    variants: dict[Name, Variant]
    sweep: Sweep
    margin: dict[str, float]

    def runs_on(self, dataset: str) -> dict[str, tuple[int, ...]]:
        """The variants of a dataset, each with the seeds that it is run with on clean data."""
        return {
            name: variant.seeds or self.seeds
            for name, variant in self.variants.items()
            if dataset in (variant.datasets or self.datasets)
        }

    def conditions(self, dataset: str) -> list[str]:
        """The names of the corruptions that a dataset is studied under: `image-patches-40` is rate .4."""
        if dataset not in self.sweep.datasets:
            return []
        return [self.condition(modality, rate) for modality in self.sweep.kinds for rate in self.sweep.rates]

    def condition(self, modality: Modality, rate: float) -> str:
        """The name of one corruption of the sweep; of rate 0, of clean data."""
        return f"{modality}-{self.sweep.kinds[modality]}-{round(100 * rate)}" if rate else CLEAN


def picture_names(study: Study, dataset: str) -> list[str]:
    """What the pictures of one dataset are called, once everything has been run."""
    epochs = ["epochs"] if set(ALIGNED) & set(study.variants) else []
    sides = study.sweep.kinds if dataset in study.sweep.datasets else []
    return [f"{dataset}-{name}" for name in ("isd", *epochs, *sides)]


def corruption_of(condition: str) -> Corruption | None:
    """The corruption that a condition names; None for clean data."""
    if condition == CLEAN:
        return None
    modality, kind, percent = condition.split("-")
    return Corruption.model_validate({"modality": modality, "kind": kind, "rate": int(percent) / 100})


def load_study(path: Path, params: Params) -> Study:
    """Read and check study.yaml against params.yaml. Raises `RelalignError` with a line for every wrong key."""
    try:
        study = Study.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise RelalignError(f"{path} does not exist. Run from the project's folder.") from None
    except yaml.YAMLError as error:
        raise RelalignError(f"{path} is not valid YAML: {error}") from None
    except ValidationError as error:
        raise RelalignError("\n".join(f"{path}: {explain(item)}" for item in error.errors())) from None
    training_of(params, study, where=f"{path}: training")
    evaluate_of(params, study, where=f"{path}: evaluate")
    for dataset in study.datasets:
        if dataset not in params.datasets:
            raise RelalignError(f"{path}: datasets: '{dataset}' is not an entry of 'datasets' in params.yaml.")
    for method, trials in study.search.trials.items():
        for index, change in enumerate(trials):
            method_with(params, method, change, where=f"{path}: search.trials.{method}.{index}")
    if len({len(trials) for trials in study.search.trials.values()}) > 1:
        raise RelalignError(f"{path}: search.trials: every method needs as many trials as the others.")
    for name, variant in study.variants.items():
        for dataset in variant.datasets or ():
            if dataset not in study.datasets:
                raise RelalignError(f"{path}: variants.{name}.datasets: '{dataset}' is not one of 'datasets'.")
        if variant.of not in study.search.trials:
            raise RelalignError(f"{path}: variants.{name}.of: '{variant.of}' has no entry in search.trials.")
        method_with(params, variant.of, variant.change, where=f"{path}: variants.{name}.change")
        backbone_of(params, variant, where=f"{path}: variants.{name}.backbone")
        training_of(params, study, variant, where=f"{path}: variants.{name}.training")
    for modality, kind in study.sweep.kinds.items():
        try:
            Corruption.model_validate({"modality": modality, "kind": kind, "rate": 0.0})
        except ValidationError as error:
            lines = [f"{path}: sweep.kinds.{modality}: {explain(item)}" for item in error.errors()]
            raise RelalignError("\n".join(lines)) from None
    return study


def training_of(
    params: Params, study: Study, variant: Variant | None = None, *, where: str = "training"
) -> Training:
    """The budget and schedule of all runs of the study, or of one variant's."""
    return _changed(params.training, study.training | (variant.training if variant else {}), where)


def backbone_of(params: Params, variant: Variant, *, where: str = "backbone") -> Backbone:
    """The shared model, as one variant has it."""
    return _changed(params.backbone, variant.backbone, where)


def evaluate_of(params: Params, study: Study, *, where: str = "evaluate") -> Evaluate:
    """How all runs of the study are measured."""
    return _changed(params.evaluate, study.evaluate, where)


def _changed(section: S, change: Changes, where: str) -> S:
    try:
        return type(section).model_validate({**section.model_dump(), **change})
    except ValidationError as error:
        raise RelalignError("\n".join(f"{where}: {explain(item)}" for item in error.errors())) from None


def method_with(params: Params, method: str, change: Changes, *, where: str) -> Any:
    """A method's section of params.yaml with some keys changed; the error of a wrong key begins with `where`."""
    if method not in params.method:
        raise RelalignError(f"{where}: '{method}' is not an entry of 'method' in params.yaml.")
    adapter: TypeAdapter[Any] = TypeAdapter(Method)
    try:
        return adapter.validate_python({**params.method[method].model_dump(), **change})
    except ValidationError as error:
        raise RelalignError("\n".join(f"{where}: {explain(item)}" for item in error.errors())) from None


def read_choice(path: Path) -> Changes:
    """What `relalign study choose` found best for one method."""
    change: Changes = json.loads(path.read_text())["change"]
    return change
