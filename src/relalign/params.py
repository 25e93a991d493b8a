"""The frozen, typed view of params.yaml: an unknown key, a wrong type or an impossible value names its path.

One class a section. `workflow/schemas/params.schema.yaml` is generated from these classes
(`relalign schema`) and a test keeps the two equal.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from relalign.errors import RelalignError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="letters, digits, '_', '-'")]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
TEMPERATURES = (0.01, 1.0)  # within which temperatures are learned
Temperature = Annotated[float, Field(ge=TEMPERATURES[0], le=TEMPERATURES[1])]
Count = Annotated[int, Field(ge=1)]
NonNegativeCount = Annotated[int, Field(ge=0)]
Precision = Literal["float32", "bfloat16"]


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"{list(names)} names one twice")
    return names


class Section(BaseModel):
    """A part of params.yaml: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, given: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in given if isinstance(given, dict) else ():
            if key not in known:
                close = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
                raise PydanticCustomError("unknown_key", "unknown key; {hint}", {"key": str(key), "hint": hint})
        return given


class Source(Section):
    """Where bytes come from, what they must hash to, and on what terms they may be used."""

    url: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    licence: str = "not stated"
    attribution: str = "not stated"


class Dataset(Section):
    """Images with captions; `reader` names the file in `relalign/data/readers/` that understands the sources."""

    reader: Literal["openmoji", "karpathy", "table"]
    sources: dict[Name, Source]
    captions_file: str | None = None
    keep_duplicate_captions: bool = False


class Validate(Section):
    """What is accepted as data."""

    on_bad_image: Literal["fail", "skip"] = "skip"
    on_bad_caption: Literal["fail", "skip"] = "skip"
    max_pixels: Count = 50_000_000
    near_duplicate_bits: Annotated[int, Field(ge=0, le=64)] = 6
    on_split_leak: Literal["fail", "drop_from_train", "drop_from_train_and_val"] = "drop_from_train"


class Encoder(Section):
    """A frozen encoder: packaged EfficientNet-Lite0, or any `transformers` model by hub name or folder.

    `image_size` is EfficientNet's, which takes any; others bring their own.
    """

    kind: Literal["efficientnet_lite0", "transformers"]
    modality: Literal["image", "text"]
    source: Source | None = None
    model: str | None = None
    revision: str | None = None
    max_tokens: Annotated[int, Field(ge=3)] = 40
    prefix: str = ""
    image_size: Annotated[int, Field(ge=32, multiple_of=32)] = 224

    @model_validator(mode="after")
    def _has_one_origin(self) -> "Encoder":
        if (self.source is None) == (self.model is None):
            raise ValueError(
                "give exactly one of 'source' (a package or archive) and 'model' (a hub name or folder)"
            )
        if self.kind == "efficientnet_lite0" and (self.source is None or self.modality != "image"):
            raise ValueError("kind 'efficientnet_lite0' needs a 'source' and serves modality 'image'")
        return self


class Encoders(Section):
    """Which entry of `encoder` serves each modality."""

    image: Name
    text: Name


class Features(Section):
    """How features are computed; none of these changes what is computed, beyond rounding.

    `workers` are the cores used, each with a batch of its own (0: all). A batch of 8 stays in a core's cache;
    a GPU wants 256.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    batch_size: Count = 8
    workers: NonNegativeCount = 0


class Corruption(Section):
    """Images or captions made poor on purpose: how and how much (see `relalign/data/corruption.py`).

    Kinds for images: `patches` greyed out, `noise`, `blur`; for text: words that `drop` out, `shuffle` among
    themselves, or `swap` with others of the dataset. `rate` is the fraction destroyed; for noise its standard
    deviation, 1 being 255 grey levels; for blur its standard deviation, 1 being a 16th of the shorter side.
    """

    modality: Literal["image", "text"]
    kind: Literal["patches", "noise", "blur", "drop", "shuffle", "swap"]
    rate: Fraction
    seed: NonNegativeCount = 0

    @model_validator(mode="after")
    def _kind_fits_the_modality(self) -> "Corruption":
        fitting = {"image": ("patches", "noise", "blur"), "text": ("drop", "shuffle", "swap")}[self.modality]
        if self.kind not in fitting:
            raise ValueError(f"kind: '{self.kind}' is none of modality '{self.modality}' ({', '.join(fitting)})")
        return self


class Backbone(Section):
    """The one model that all trained methods share (see `relalign/model/backbone.py`).

    `fused_gradient` is the share of the gradient that passes from fused vectors to the towers: they learn from far
    fewer fused pairs than contrasted ones, and at full share overfit to those at the papers' weights of the terms.
    """

    width: Count = 1024
    embedding_width: Count = 384
    cca_regularisation: Positive = 2.0
    summary_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.7
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    fusion_width: Count = 256
    fusion_layers: Count = 1
    fusion_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    fused_gradient: Fraction = 0.1
    heads: Count = 8


class Training(Section):
    """The budget and schedule that all trained methods share (see `relalign/training/loop.py`).

    `threads` is fixed rather than taken from the machine, because sums depend on it in the last bits.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Count = 1
    precision: Precision = "float32"
    epochs: Count = 50
    batch_size: Annotated[int, Field(ge=2)] = 1024
    caption_mixing: Annotated[float, Field(ge=0, le=0.5)] = 0.5
    learning_rate: Positive = 1e-3
    scalar_learning_rate: Positive = 0.01
    warmup: Fraction = 0.1
    weight_decay: NonNegative = 0.1
    gradient_clip: Positive = 2.0
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.95
    validate_every: Count = 5
    select_from: Annotated[float, Field(ge=0, lt=1)] = 0.8
    patience: Count = 25
    checkpoint_seconds: NonNegative = 20.0


class Cca(Section):
    """Regularised linear CCA on the summaries that the towers read; no gradient step."""

    algorithm: Literal["cca"]
    regularisation: Positive = 2.0
    width: Count = 384
    power: NonNegative = 1.0


class Contrastive(Section):
    """Baseline: contrastive loss with soft targets over equal ids, plus hard-negative matching."""

    algorithm: Literal["contrastive"]
    temperature: Temperature = 0.05
    matching_weight: NonNegative = 1.0
    matching_pairs: Count = 32


class Covlr(Section):
    """CoVLR: cross-modal consistency is meta-train, intra-modal relations are meta-test (see `methods/covlr.py`).

    `meta_order: none` is the plain sum, which is what the released code computes. `relation_weight` is that of
    T^2 KL whatever the `relation`, T its temperature; 100 makes its gradient a third to a half of ITC's, where the
    released weight (0.48 on this scale) is inert. `band_weight` is that of the mean over pairs (released: 0.44).
    """

    algorithm: Literal["covlr"]
    temperature: Temperature = 0.05
    matching: Literal["binary", "listwise"] = "binary"
    matching_weight: NonNegative = 1.0
    matching_pairs: Annotated[int, Field(ge=2)] = 32
    meta_order: Literal["none", "first", "second"] = "first"
    step_size: NonNegative = 0.01
    fast: Literal["all", "towers", "image", "text"] = "towers"
    swap_roles_every: NonNegativeCount = 0
    strong: Literal["text", "image", "both"] = "text"
    relation: Literal["distance", "cosine", "cluster"] = "distance"
    relation_of: Literal["embedding", "fused"] = "embedding"
    relation_weight: NonNegative = 100.0
    relation_temperature: Positive = 0.1
    clusters: Count = 16
    consistency_weight: NonNegative = 1.0
    consistency_temperature: Positive = 0.1
    band_weight: NonNegative = 0.44


class Rebalanced(Section):
    """Rebalanced: representation and structure distillation from two teachers (see `methods/rebalanced.py`)."""

    algorithm: Literal["rebalanced"]
    temperature: Temperature = 0.05
    stage_one: Fraction = 0.5
    contrastive_weight: NonNegative = 1.0
    matching_weight: NonNegative = 2.0
    matching_pairs: Annotated[int, Field(ge=2)] = 32
    image_distillation_weight: NonNegative = 1.0
    text_distillation_weight: NonNegative = 2.0
    structure_weight: NonNegative = 2.0
    image_structure_weight: NonNegative = 1.0
    text_structure_weight: NonNegative = 1.0
    distance: Literal["mae", "mse", "cumulative", "wasserstein"] = "mae"
    relations: Annotated[
        tuple[Literal["fused", "image", "text", "cross"], ...],
        Field(strict=False, min_length=1),
        AfterValidator(_each_once),
    ] = ("fused",)
    mix: float = 0.5
    mix_bound: Literal["none", "clamp", "sigmoid"] = "clamp"
    learn_mix: bool = True
    structure_temperature: Positive = 0.07
    learn_structure_temperature: bool = False

    @model_validator(mode="after")
    def _mix_is_within_its_bound(self) -> "Rebalanced":
        if (
            self.mix_bound == "sigmoid"
            and not 0 < self.mix < 1
            or self.mix_bound == "clamp"
            and not 0 <= self.mix <= 1
        ):
            raise ValueError(f"mix: {self.mix} is outside the bound that mix_bound '{self.mix_bound}' sets")
        return self

    @model_validator(mode="after")
    def _learned_temperature_is_within_bounds(self) -> "Rebalanced":
        low, high = TEMPERATURES
        if self.learn_structure_temperature and not low <= self.structure_temperature <= high:
            raise ValueError(f"structure_temperature: if learned, between {low:g} and {high:g}")
        return self


class Iais(Section):
    """IAIS: intra-modal attention calibrated through inter-modal attention (see `methods/iais.py`).

    `task: ranking` is the paper's. Of its candidates fusion scores the `ranking_prefilter` nearest by embedding;
    0, as published, is all of them.
    """

    algorithm: Literal["iais"]
    temperature: Temperature = 0.05
    task: Literal["matching", "ranking"] = "matching"
    task_weight: NonNegative = 1.0
    matching_pairs: Count = 32
    alignment: Literal["singular", "distributed", "soft"] = "singular"
    renormalise: bool = False
    anchors: Annotated[
        tuple[Literal["text", "image"], ...], Field(strict=False, min_length=1), AfterValidator(_each_once)
    ] = ("text", "image")
    annealing: Literal["exp", "linear", "log", "constant"] = "exp"
    lambda_iais: NonNegative = 8.0
    ranking_queries: Count = 1
    ranking_candidates: Count = 400
    ranking_prefilter: NonNegativeCount = 0
    ranking_negatives: Count = 31
    ranking_margin: Positive = 0.2

    @model_validator(mode="after")
    def _settings_have_an_effect(self) -> "Iais":
        if self.renormalise and self.alignment != "singular":
            raise ValueError(f"renormalise: only alignment 'singular' has it, not '{self.alignment}'")
        if self.ranking_negatives >= self.ranking_candidates:
            raise ValueError("ranking_negatives: fewer than ranking_candidates, which hold the query's own")
        if 0 < self.ranking_prefilter < self.ranking_negatives:
            raise ValueError("ranking_prefilter: 0 or at least ranking_negatives, which are taken from it")
        return self


class Consensus(Section):
    """Ours: towers that keep the relations on which frozen teachers agree (see `methods/consensus.py`).

    `captions` of an image are contrasted with it in a step, where other methods take one.
    """

    algorithm: Literal["consensus"]
    temperature: Temperature = 0.05
    matching_weight: NonNegative = 1.0
    matching_pairs: Count = 32
    captions: Count = 5
    sibling_weight: NonNegative = 0.25
    soft_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    image_relation_weight: NonNegative = 1.0
    text_relation_weight: NonNegative = 0.5
    sharpness: Positive = 1.5
    mix: Literal["consensus", "equal", "text", "image"] = "consensus"
    attention_weight: NonNegative = 1.0

    @model_validator(mode="after")
    def _attention_needs_fused_pairs(self) -> "Consensus":
        if self.attention_weight > 0 and self.matching_weight == 0:
            raise ValueError("attention_weight: is of the pairs that are matched; 0 where matching_weight is 0")
        return self


Method = Annotated[Cca | Contrastive | Covlr | Rebalanced | Iais | Consensus, Field(discriminator="algorithm")]


class Export(Section):
    """Embedding export."""

    batch_size: Count = 512


class Judgements(Section):
    """Positives beyond the captions an image came with: two JSON files (ECCV Caption, CxC), by MS-COCO ids."""

    image_to_caption: str
    caption_to_image: str


class Evaluate(Section):
    """What is measured on the test split, and how surely (see docs/evaluation.md).

    `rerank_depth` candidates of each query are re-ranked by fusion (0: none), which computes in `precision`;
    `fold_size` cuts the test images into folds (1000 for COCO 1K, 0: none); `released_protocol` adds the numbers
    of the papers' own scripts; `phrase_regions` names a file of annotated phrases, which adds `isd/annotated`.
    """

    recall_at: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)] = (1, 5, 10)
    ndcg_at: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)] = (10, 20, 50)
    neighbours: Count = 10
    rerank_depth: NonNegativeCount = 16
    precision: Precision = "float32"
    fold_size: NonNegativeCount = 0
    released_protocol: bool = False
    judgements: dict[Name, Judgements] = {}
    graded_judgements: Annotated[tuple[str, ...], Field(strict=False)] = ()
    phrase_regions: str | None = None
    bootstrap_samples: Count = 1000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    permutations: Count = 9999
    resampling_seed: NonNegativeCount = 0


class Report(Section):
    """The comparison and the page a person reads; `examples` is how many queries of each kind it shows."""

    baseline: Name = "contrastive"
    examples: NonNegativeCount = 3


class Tracking(Section):
    """MLflow: `uri` empty means MLFLOW_TRACKING_URI, or else an sqlite file in the project."""

    enabled: bool = True
    uri: str | None = None
    experiment: str = "relalign"


class Params(Section):
    """All of params.yaml."""

    dataset: Name
    methods: Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]
    seeds: Annotated[tuple[NonNegativeCount, ...], Field(min_length=1, strict=False)]
    datasets: dict[Name, Dataset]
    validate_: Annotated[Validate, Field(alias="validate")] = Validate()
    encoders: Encoders
    encoder: dict[Name, Encoder]
    features: Features = Features()
    backbone: Backbone = Backbone()
    training: Training = Training()
    method: dict[Name, Method]
    export: Export = Export()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()
    tracking: Tracking = Tracking()

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
        for key, values in (("methods", self.methods), ("seeds", self.seeds)):
            if len(set(values)) != len(values):
                raise ValueError(f"{key}: an entry stands twice")
        if self.report.baseline not in self.methods:
            raise ValueError(f"report.baseline: '{self.report.baseline}' is not among 'methods'")
        return self

    def on(self, dataset: str) -> "Params":
        """The same choices on another entry of `datasets`."""
        if dataset not in self.datasets:
            raise RelalignError(f"--dataset: '{dataset}' is not an entry of 'datasets' in params.yaml.")
        return self.model_copy(update={"dataset": dataset})


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader, which would otherwise let a later key silently win over an earlier equal one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise RelalignError(
                    f"{key_node.start_mark.name}: line {key_node.start_mark.line + 1}: '{key}' stands twice."
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def explain(error: Any) -> str:
    """One of pydantic's errors as a line that names the key."""
    location = [str(part) for part in error["loc"]]
    if location[:1] == ["method"]:
        del location[2:3]  # pydantic puts the chosen algorithm here, which is no key of the file
    if error["type"] == "unknown_key":
        location.append(error["ctx"]["key"])
    text = f"{'.'.join(location)}: {error['msg']}".removeprefix(": ").replace("Value error, ", "")
    given = error.get("input")
    if isinstance(given, str) and error["type"] in {"float_type", "int_type"}:
        text += f" (it is the text '{given}'; YAML reads 1.0e-4, not 1e-4, as a number)"
    return text


def load_params(path: Path) -> Params:
    """Read and check a params file. Raises `RelalignError` with one line for every wrong key."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError:
        raise RelalignError(
            f"{path} does not exist. Run from the project's folder, or name it with --params."
        ) from None
    except yaml.YAMLError as error:
        raise RelalignError(f"{path} is not valid YAML: {error}") from None
    return parse_params(raw, origin=str(path))


def parse_params(raw: Any, *, origin: str = "params.yaml") -> Params:
    """Check a mapping as `load_params` does; `origin` names it in errors."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        lines = [explain(item) for item in error.errors()]
        raise RelalignError("\n".join(f"{origin}: {line}" for line in lines)) from None


def params_schema() -> dict[str, Any]:
    """The JSON schema of params.yaml, for Snakemake's `validate` and for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Params.model_json_schema(by_alias=True),
    }
