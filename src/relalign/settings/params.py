"""All of params.yaml: its sections, and that the names in it name something."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from relalign.errors import RelalignError
from relalign.settings.backbone import Backbone
from relalign.settings.dataset import Dataset, Validate
from relalign.settings.encoder import Encoder, Encoders, Features
from relalign.settings.evaluate import Evaluate
from relalign.settings.export import Export
from relalign.settings.methods import Method, taught_by
from relalign.settings.report import Report
from relalign.settings.section import Name, NonNegativeCount, Section
from relalign.settings.teacher import Teacher
from relalign.settings.tracking import Tracking
from relalign.settings.training import Training

NO_LAYERS = (
    "training.lora_rank: no encoder trains, so that no layer could learn a change of low rank. "
    "Set encoder.<name>.train_from, or leave lora_rank 0"
)


class Params(Section):
    """All of params.yaml."""

    dataset: Name
    """An entry of `datasets`."""
    methods: Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]
    """Entries of `method`, in the order of the report."""
    seeds: Annotated[tuple[NonNegativeCount, ...], Field(min_length=1, strict=False)]
    """One training a method and seed."""
    datasets: dict[Name, Dataset]
    """The datasets there are, by name."""
    validate_: Annotated[Validate, Field(alias="validate")] = Validate()
    """What is accepted as data."""
    encoders: Encoders
    """Which entry of `encoder` serves each modality."""
    encoder: dict[Name, Encoder]
    """The encoders there are, by name."""
    features: Features = Features()
    """How features are computed."""
    backbone: Backbone = Backbone()
    """The model that all trained methods share."""
    training: Training = Training()
    """The budget and schedule that all trained methods share."""
    teacher: Teacher
    """Single-modal teachers, trained before the methods."""
    method: dict[Name, Method]
    """The methods there are, by name. `of: name` takes over another entry; what follows differs."""
    export: Export = Export()
    """Embedding export."""
    evaluate: Evaluate = Evaluate()
    """What is measured on the test split."""
    report: Report = Report()
    """The comparison and the page."""
    tracking: Tracking = Tracking()
    """MLflow."""

    @model_validator(mode="after")
    def _names_exist(self) -> "Params":
        wanted: list[tuple[str, str, Mapping[str, Any], str]] = [
            ("dataset", self.dataset, self.datasets, "datasets")
        ]
        wanted += [("methods", name, self.method, "method") for name in self.methods]
        wanted += [
            (f"encoders.{side}", getattr(self.encoders, side), self.encoder, "encoder")
            for side in ("image", "text")
        ]
        for key, name, known, section in wanted:
            if name not in known:
                raise ValueError(f"{key}: '{name}' is not an entry of '{section}' ({', '.join(sorted(known))})")
        for side in ("image", "text"):
            name = getattr(self.encoders, side)
            if self.encoder[name].modality != side:
                raise ValueError(f"encoders.{side}: '{name}' is an encoder of {self.encoder[name].modality}s")
        if self.teacher.encoders and self.teacher.batch_size % self.training.processes:
            raise ValueError(
                f"training.processes: {self.training.processes} do not divide teacher.batch_size, which is "
                f"{self.teacher.batch_size}"
            )
        if self.training.lora_rank and all(self.encoder[name].train_from is None for _, name in self.encoders):
            raise ValueError(NO_LAYERS)
        for name in self.teacher.encoders:
            if name not in (self.encoders.image, self.encoders.text):
                raise ValueError(f"teacher.encoders: '{name}' is none of 'encoders'")
        for method in self.methods:
            for side in taught_by(self.method[method]):
                if (name := getattr(self.encoders, side)) not in self.teacher.encoders:
                    raise ValueError(
                        f"method.{method}.teacher: 'trained', but '{name}' is not in teacher.encoders"
                    )
        for key, values in (("methods", self.methods), ("seeds", self.seeds)):
            if len(set(values)) != len(values):
                raise ValueError(f"{key}: an entry stands twice")
        if self.report.baseline not in self.methods:
            raise ValueError(f"report.baseline: '{self.report.baseline}' is not among 'methods'")
        return self

    def settings_of(self, method: str) -> Any:  # also what someone has added, of a class that is not known here
        """An entry of `method`, or an error that names the ones there are."""
        if method not in self.method:
            raise RelalignError(
                f"'{method}' is not an entry of 'method' in params.yaml ({', '.join(self.method)})."
            )
        return self.method[method]

    def record(self) -> dict[str, Any]:
        """All choices with all defaults, as JSON has them; not `tracking`, which may hold a password."""
        return self.model_dump(mode="json", by_alias=True, exclude={"tracking"})

    def on(self, dataset: str) -> "Params":
        """The same choices on another entry of `datasets`."""
        if dataset not in self.datasets:
            raise RelalignError(f"--dataset: '{dataset}' is not an entry of 'datasets' in params.yaml.")
        return self.model_copy(update={"dataset": dataset})
