"""The frozen, typed view of study.yaml, and what a trial or a variant comes to in the terms of params.yaml."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import yaml
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from relalign.errors import RelalignError
from relalign.settings import Params
from relalign.settings.backbone import Backbone
from relalign.settings.corruption import Corruption
from relalign.settings.encoder import Encoder
from relalign.settings.evaluate import Evaluate
from relalign.settings.methods import Method, taught_by
from relalign.settings.reading import UNREADABLE, explain
from relalign.settings.section import Count, Fraction, Name, NonNegativeCount, Section
from relalign.settings.training import Training
from relalign.study.premise_settings import Premise

# Keys are a method's own settings, or those of what methods share, with their section (`training.epochs`).
Changes = dict[str, Any]
SECTIONS = ("backbone", "training", "evaluate")
S = TypeVar("S", bound=Section)
T = TypeVar("T")
CLEAN = "clean"
Modality = Literal["image", "text"]


def _own_folder(name: str) -> str:
    """A regime's name; `ValueError` if its folder would hold others' results (corruptions' have a `-`)."""
    if name in (CLEAN, "search", "premise"):
        raise ValueError(f"'{name}' is taken; name the regime otherwise")
    return name


RegimeName = Annotated[str, Field(pattern=r"^[a-z]+$"), AfterValidator(_own_folder)]
# The pages of docs/findings.
PAGES = ("variants", "premise", "covlr", "rebalanced", "iais", "consensus", "how", "tuning")
ALIGNED = ("iais", "iais-off")
BUDGET = ("training.epochs", "training.batch_size", "training.captions_per_step")


class Changed(NamedTuple):
    """What a run is made with: its method's settings, the model, the training, and how it is measured."""

    method: Any
    backbone: Backbone
    training: Training
    evaluate: Evaluate


class Variant(Section):
    """A method of params.yaml, as tuned, with some of its settings changed: an ablation.

    `seeds` and `datasets` are its own if it is not to be run with all of the study's; `[]`: in regimes alone.
    Where it is not run, claims about it are about `elsewhere`.
    """

    of: Name
    change: Changes = {}
    seeds: Annotated[tuple[NonNegativeCount, ...], Field(strict=False, min_length=1)] | None = None
    datasets: Annotated[tuple[Name, ...], Field(strict=False)] | None = None
    elsewhere: Name | None = None

    @property
    def comparable(self) -> bool:
        """Whether it has the model and the budget of all methods: between others, these differ too."""
        return not any(_section_of(key) == "backbone" or key in BUDGET for key in self.change)


class Tuning(Section):
    """The search of one method, on validation.

    Trial 0 is the start; the others are those of the axes, one after the other. A trial adds its change to the
    best of all trials before its axis (coordinate search): an axis is tried at the best that is known by then.
    """

    start: Changes = {}
    axes: list[list[Changes]] = []

    @property
    def trials(self) -> list[Changes]:
        """What each trial changes, beside what it takes from those before."""
        return [self.start, *(change for axis in self.axes for change in axis)]

    def earlier(self, trial: int) -> range:
        """The trials that this one builds on: all before its axis.

        >>> Tuning(axes=[[{"a": 1}, {"a": 2}], [{"b": 1}]]).earlier(3)
        range(0, 3)
        """
        first = 0
        for size in (1, *map(len, self.axes)):
            if trial < first + size:
                break
            first += size
        return range(first)


class Search(Section):
    """Tuning with equal effort: as many trials for every method."""

    seed: NonNegativeCount = 0
    methods: dict[Name, Tuning]


class Sweep(Section):
    """One modality made worse and worse: `kinds` names the corruption of each modality (see `Corruption`).

    `change` is made to every variant under a corruption.
    """

    datasets: tuple[Name, ...] = Field(strict=False)
    kinds: dict[Modality, str]
    rates: tuple[Fraction, ...] = Field(strict=False)
    variants: tuple[Name, ...] = Field(strict=False)
    seeds: tuple[NonNegativeCount, ...] = Field(strict=False)
    change: Changes = {}


class Regime(Section):
    """Another way to train than that of the rest of the study, under which claims are judged again.

    `image` and `text` are the layers from which on the encoders train (None: frozen). `change` is made to every
    method as tuned, `search` tunes it further from there, with as many trials for each; a variant's own change
    counts more.
    """

    datasets: tuple[Name, ...] = Field(strict=False)
    image: str | None = None
    text: str | None = None
    variants: tuple[Name, ...] = Field(strict=False)
    seeds: Annotated[tuple[NonNegativeCount, ...], Field(strict=False, min_length=1)]
    change: Changes = {}
    search: dict[Name, Tuning] = {}


class LeastSeeds(Section):
    """With fewer seeds there is no verdict: of the headline's claims, and of all others."""

    headline: Annotated[int, Field(ge=2)]
    others: Annotated[int, Field(ge=2)]


class Study(Section):
    """All of study.yaml.

    `backbone`, `training` and `evaluate` change those sections for all methods alike. For the verdicts, `margin`
    is the smallest difference worth having, by metric, `least_seeds` how many seeds a claim needs, and
    `permutations` is how many each test draws: p-values that are multiplied by the number of claims have to be
    known well.
    """

    datasets: tuple[Name, ...] = Field(strict=False)
    seeds: Annotated[tuple[NonNegativeCount, ...], Field(strict=False, min_length=1)]
    backbone: Changes = {}
    training: Changes = {}
    evaluate: Changes = {}
    search: Search
    variants: dict[Name, Variant]
    sweep: Sweep
    regimes: dict[RegimeName, Regime] = {}
    margin: dict[str, float]
    least_seeds: LeastSeeds
    permutations: Count = 100_000
    premise: Premise | None = None

    def runs_on(self, dataset: str, regime: str = CLEAN) -> dict[str, tuple[int, ...]]:
        """The variants of a dataset, each with the seeds that it is run with on clean data (or in a regime)."""
        if regime != CLEAN:
            return dict.fromkeys(self.regimes[regime].variants, self.regimes[regime].seeds)
        return {
            name: variant.seeds or self.seeds
            for name, variant in self.variants.items()
            if dataset in (self.datasets if variant.datasets is None else variant.datasets)
        }

    def planned(self, dataset: str) -> dict[tuple[str, str], tuple[int, ...]]:
        """Every variant and condition of a dataset with the seeds that it is run with."""
        clean = {
            (name, regime): seeds
            for regime in self.regimes_of(dataset)
            for name, seeds in self.runs_on(dataset, regime).items()
        }
        return clean | {
            (name, condition): self.sweep.seeds
            for condition in self.conditions(dataset)
            for name in self.sweep.variants
        }

    def regimes_of(self, dataset: str) -> list[str]:
        """`clean`, and the names of the regimes that a dataset is studied in."""
        return [CLEAN, *(name for name, regime in self.regimes.items() if dataset in regime.datasets)]

    def change_of(self, variant: str, condition: str, tuned: Changes) -> Changes:
        """What a run changes of its method: as tuned, with the regime or the corruption, and the variant's own.

        `tuned` is by the regime's own search, which begins with `change`, if it has one.
        """
        own, regime = self.variants[variant].change, self.regimes.get(condition)
        if regime is not None:
            return {**regime.change, **tuned, **own} if regime.search else {**tuned, **regime.change, **own}
        return {**tuned, **own, **({} if condition == CLEAN else self.sweep.change)}

    def tunings(self, regime: str = CLEAN) -> dict[str, Tuning]:
        """The search of each method, on clean data or in a regime (none: it goes by that on clean data)."""
        return self.search.methods if regime == CLEAN else self.regimes[regime].search

    def searched(self, dataset: str) -> list[str]:
        """`clean`, and the regimes of a dataset that have a search of their own."""
        return [regime for regime in self.regimes_of(dataset) if self.tunings(regime)]

    def search_of(self, condition: str) -> str:
        """By the search of which regime the runs under a condition go."""
        return condition if condition in self.regimes and self.tunings(condition) else CLEAN

    def comparable_with(self, baseline: str, dataset: str, regime: str = CLEAN) -> list[str]:
        """The other variants of a dataset with the baseline's seeds and their method's own model and training."""
        runs = self.runs_on(dataset, regime)
        return [
            name
            for name, seeds in runs.items()
            if name != baseline and seeds == runs.get(baseline) and self.variants[name].comparable
        ]

    def conditions(self, dataset: str) -> list[str]:
        """The names of the corruptions that a dataset is studied under: `image-patches-40` is rate .4."""
        if dataset not in self.sweep.datasets:
            return []
        return [self.condition(modality, rate) for modality in self.sweep.kinds for rate in self.sweep.rates]

    def condition(self, modality: Modality, rate: float) -> str:
        """The name of one corruption of the sweep; of rate 0, of clean data."""
        return f"{modality}-{self.sweep.kinds[modality]}-{round(100 * rate)}" if rate else CLEAN


def picture_names(study: Study, dataset: str, baseline: str) -> list[str]:
    """What the pictures of one dataset are called, once everything has been run."""
    names = [f"{dataset}-{modality}" for modality in study.sweep.kinds if dataset in study.sweep.datasets]
    for regime in study.regimes_of(dataset):
        stem = dataset if regime == CLEAN else f"{dataset}-{regime}"
        gains = ["gains"] if study.comparable_with(baseline, dataset, regime) else []
        epochs = ["epochs"] if set(ALIGNED) & set(study.runs_on(dataset, regime)) else []
        names += [f"{stem}-{name}" for name in (*gains, "isd", *epochs)]
    return names


def corruption_of(condition: str) -> Corruption | None:
    """The corruption that a condition names; None for clean data, with any regime of training."""
    if "-" not in condition:
        return None
    modality, kind, percent = condition.split("-")
    return Corruption.model_validate({"modality": modality, "kind": kind, "rate": int(percent) / 100})


def load_study(path: Path, params: Params) -> Study:
    """Read and check study.yaml against params.yaml. Raises `RelalignError` with a line for every wrong key."""
    try:
        study = Study.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise RelalignError(f"{path} does not exist. Run from the project's folder.") from None
    except ValidationError as error:
        raise RelalignError("\n".join(f"{path}: {explain(item)}" for item in error.errors())) from None
    except UNREADABLE as error:
        raise RelalignError(f"{path} is not valid YAML: {error}") from None
    backbone_of(params, study, where=f"{path}: backbone")
    budget_of(params, study, where=f"{path}: training")
    evaluate_of(params, study, where=f"{path}: evaluate")
    for dataset in study.datasets:
        if dataset not in params.datasets:
            raise RelalignError(f"{path}: datasets: '{dataset}' is not an entry of 'datasets' in params.yaml.")
    for method, tuning in study.search.methods.items():
        where = f"{path}: search.methods.{method}"
        changed(params, study, method, tuning.start, where=f"{where}.start")
        for place, axis in enumerate(tuning.axes):
            for index, change in enumerate(axis):
                changed(params, study, method, change, where=f"{where}.axes.{place}.{index}")
    if len({len(tuning.trials) for tuning in study.search.methods.values()}) > 1:
        raise RelalignError(f"{path}: search.methods: every method needs as many trials as the others.")
    for name, variant in study.variants.items():
        for dataset in variant.datasets or ():
            if dataset not in study.datasets:
                raise RelalignError(f"{path}: variants.{name}.datasets: '{dataset}' is not one of 'datasets'.")
        if variant.elsewhere is not None and variant.elsewhere not in study.variants:
            raise RelalignError(
                f"{path}: variants.{name}.elsewhere: '{variant.elsewhere}' is not one of 'variants'."
            )
        if variant.of not in study.search.methods:
            raise RelalignError(f"{path}: variants.{name}.of: '{variant.of}' has no entry in search.methods.")
        changed(params, study, variant.of, variant.change, where=f"{path}: variants.{name}.change")
    for name in study.sweep.variants:
        if name not in study.variants:
            raise RelalignError(f"{path}: sweep.variants: '{name}' is not one of 'variants'.")
        changed(params, study, study.variants[name].of, study.sweep.change, where=f"{path}: sweep.change")
    for name, regime in study.regimes.items():
        if len({len(tuning.trials) for tuning in regime.search.values()}) > 1:
            raise RelalignError(f"{path}: regimes.{name}.search: every method needs as many trials as the others.")
        lacking = {study.variants[one].of for one in regime.variants if one in study.variants} - set(regime.search)
        if regime.search and lacking:
            raise RelalignError(
                f"{path}: regimes.{name}.search: '{min(lacking)}' has no entry, but variants of it run."
            )
        for method, tuning in regime.search.items():
            for change in tuning.trials:
                where = f"{path}: regimes.{name}.search.{method}"
                changed(params, study, method, {**regime.change, **change}, where=where)
        for within in regime.variants:
            if within not in study.variants:
                raise RelalignError(f"{path}: regimes.{name}.variants: '{within}' is not one of 'variants'.")
            of, change = study.variants[within].of, study.change_of(within, name, {})
            changed(params, study, of, change, where=f"{path}: regimes.{name}.change")
        for dataset in regime.datasets:
            if dataset not in study.datasets:
                raise RelalignError(f"{path}: regimes.{name}.datasets: '{dataset}' is not one of 'datasets'.")
    if study.premise is not None:
        for dataset in study.premise.datasets:
            if dataset not in params.datasets:
                raise RelalignError(
                    f"{path}: premise.datasets: '{dataset}' is not an entry of 'datasets' in params.yaml."
                )
        for name, cut in study.premise.cuts.items():
            change = {**study.premise.change, **cut.change}
            changed(params, study, study.premise.method, change, where=f"{path}: premise.cuts.{name}")
    for modality, kind in study.sweep.kinds.items():
        try:
            Corruption.model_validate({"modality": modality, "kind": kind, "rate": 0.0})
        except ValidationError as error:
            lines = [f"{path}: sweep.kinds.{modality}: {explain(item)}" for item in error.errors()]
            raise RelalignError("\n".join(lines)) from None
    return study


def changed(params: Params, study: Study, method: str, change: Changes, *, where: str) -> Changed:
    """A method, the model, the study's budget and measuring with some keys changed; errors begin with `where`."""
    if method not in params.method:
        raise RelalignError(f"{where}: '{method}' is not an entry of 'method' in params.yaml.")
    parts: dict[str, Changes] = {"": {}, **{section: {} for section in SECTIONS}}
    for key, value in change.items():
        section = _section_of(key)
        parts[section][key.removeprefix(f"{section}.")] = value
    adapter: TypeAdapter[Any] = TypeAdapter(Method)
    own = {**params.method[method].model_dump(), **parts[""]}
    settings = _validated(adapter.validate_python, own, where)
    if taught_by(settings):
        raise RelalignError(f"{where}: teacher: a study trains no teachers. Leave it 'frozen'.")
    return Changed(
        settings,
        _with(backbone_of(params, study), parts["backbone"], f"{where}.backbone"),
        _with(budget_of(params, study), parts["training"], f"{where}.training"),
        _with(evaluate_of(params, study), parts["evaluate"], f"{where}.evaluate"),
    )


def only(
    params: Params,
    dataset: str,
    name: str,
    made_with: Changed,
    *,
    image: str | None = None,
    text: str | None = None,
) -> Params:
    """The parameters of one run of the study, whose results lie under `name`; all seeds validate on one split.

    `image` and `text` are the layers from which on the encoders train.
    """
    data = params.datasets[dataset].model_copy(update={"rotate_validation": False})
    update = {
        "datasets": {**params.datasets, dataset: data},
        "dataset": dataset,
        "method": {name: made_with.method},
        "backbone": made_with.backbone,
        "training": made_with.training,
        "evaluate": made_with.evaluate,
        "encoder": with_cuts(params, image=image, text=text),
        "tracking": params.tracking.model_copy(update={"experiment": f"{params.tracking.experiment}-study"}),
    }
    return params.model_copy(update=update)


def params_of(params: Params, study: Study, dataset: str, where: tuple[str, str], tuned: Changes) -> Params:
    """The parameters of the runs of one variant under one condition; `tuned` is what tuning changes."""
    variant, condition = where
    change, of = study.change_of(variant, condition, tuned), study.variants[variant].of
    made_with = changed(params, study, of, change, where=f"variants.{variant}")
    return only(params, dataset, variant, made_with, **cuts_of(study, condition))


def cuts_of(study: Study, condition: str) -> dict[str, str | None]:
    """The layers from which on the encoders train under a condition, by modality; of a regime only."""
    regime = study.regimes.get(condition)
    return {"image": regime.image, "text": regime.text} if regime else {}


def with_cuts(params: Params, *, image: str | None = None, text: str | None = None) -> dict[str, Encoder]:
    """All encoders; those of params.yaml's pair train from these layers on."""
    cuts = {params.encoders.image: image, params.encoders.text: text}
    return {
        name: encoder.model_copy(update={"train_from": cuts[name]}) if cuts.get(name) else encoder
        for name, encoder in params.encoder.items()
    }


def _section_of(key: str) -> str:
    return next((section for section in SECTIONS if key.startswith(f"{section}.")), "")


def backbone_of(params: Params, study: Study, *, where: str = "backbone") -> Backbone:
    """The model of all runs of the study, but for what tuning and variants change of it."""
    return _with(params.backbone, study.backbone, where)


def budget_of(params: Params, study: Study, *, where: str = "training") -> Training:
    """The training of all runs of the study, but for what tuning and variants change of it."""
    return _with(params.training, study.training, where)


def evaluate_of(params: Params, study: Study, *, where: str = "evaluate") -> Evaluate:
    """How the runs of the study are measured, but for what variants change of it."""
    return _with(params.evaluate, study.evaluate, where)


def _with(section: S, change: Changes, where: str) -> S:
    return _validated(type(section).model_validate, {**section.model_dump(), **change}, where)


def _validated(validate: Callable[[Changes], T], content: Changes, where: str) -> T:
    try:
        return validate(content)
    except ValidationError as error:
        raise RelalignError("\n".join(f"{where}: {explain(item)}" for item in error.errors())) from None
