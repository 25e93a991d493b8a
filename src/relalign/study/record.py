"""The record of the study's search that the repository keeps, so that a study need not repeat it.

A record (docs/search/<dataset>.json) holds every trial with its score, and `settings`, a hash of all that they
were made with. While that is what params.yaml and study.yaml say, the study goes by the kept record; otherwise the
search is run again. `make search` makes the record anew.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from relalign.errors import RelalignError
from relalign.settings import Params
from relalign.settings.section import Section
from relalign.study.layout import StudyLayout, search_condition
from relalign.study.settings import (
    CLEAN,
    Changes,
    Search,
    Study,
    changed,
    corruption_of,
    cuts_of,
    params_of,
    with_cuts,
)
from relalign.system.artifacts import canonical_json

# Keys that came after searches had been made, with the section where another has the same: at their defaults they
# change nothing, and are left out.
ADDED_LATER = {
    "caption_column",
    "captions_per_step",
    "encode_rows",
    "encoder_learning_rate",
    "fusion_start",
    "image_column",
    "layer_decay",
    "lora_rank",
    "pretrained_share",
    "rebalanced.strong",
    "split_column",
    "teacher",
    "train_from",
    "views",
}
WHERE_IT_RUNS = {
    "device",
    "threads",
    "processes",
    "checkpoint_seconds",
}  # training's settings that no trial depends on
RESAMPLING = {
    "bootstrap_samples",
    "confidence",
    "permutations",
    "resampling_seed",
}  # no result of a run depends on it


class Trial(Section):
    """All that one trial changed, and its score on the validation split."""

    change: Changes
    score: float


class SearchRecord(Section):
    """Every method's trials, in the order in which study.yaml has them, and a hash of what they were made with."""

    settings: str
    methods: dict[str, list[Trial]]

    def place(self, method: str) -> int:
        """The place of the best trial of a method; of equal ones the first."""
        return best([trial.score for trial in self.methods[method]])

    def chosen(self, method: str) -> Changes:
        """What the best trial of a method changed."""
        return self.methods[method][self.place(method)].change


def kept_path(root: Path, dataset: str, regime: str = CLEAN) -> Path:
    """The record that the repository keeps."""
    return root / f"docs/search/{dataset if regime == CLEAN else f'{dataset}-{regime}'}.json"


def read_search(path: Path) -> SearchRecord:
    """Read a record. Raises `RelalignError` if it is not there or broken."""
    try:
        return SearchRecord.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise RelalignError(f"{path} does not exist. Run `make search`.") from None
    except (ValidationError, ValueError) as error:
        raise RelalignError(f"{path} is no record of a search: {error}. Run `make search`.") from None


def current_search(params: Params, study: Study, root: Path, dataset: str, regime: str = CLEAN) -> Path:
    """The record that the study goes by: that of the results, else the kept one, if made with these settings.

    If neither is there, the first: it is to be made.
    """
    found = StudyLayout.of(root, dataset, search_condition(regime), params).search
    start = start_of(params, study, root, dataset, regime)
    wanted = fingerprint(params, study, dataset, regime, start)
    records = (path for path in (found, kept_path(root, dataset, regime)) if path.is_file())
    return next((path for path in records if read_search(path).settings == wanted), found)


def start_of(params: Params, study: Study, root: Path, dataset: str, regime: str = CLEAN) -> dict[str, Changes]:
    """What a search's trials change beside their own: in a regime all that it and the tuning on clean data say."""
    if regime == CLEAN:
        return {}
    found = search_gone_by(params, study, root, dataset)
    return {
        method: {**(found.chosen(method) if found else {}), **study.regimes[regime].change}
        for method in study.tunings(regime)
    }


def fingerprint(
    params: Params, study: Study, dataset: str, regime: str = CLEAN, start: Mapping[str, Changes] | None = None
) -> str:
    """A hash of all settings on which a search of this dataset depends; `start` is `start_of` the regime."""
    # What every trial of a method sets anew, its start does: what params.yaml has there changes no trial.
    made_with = [
        changed(params, study, method, {**(start or {}).get(method, {}), **tuning.start}, where=method)
        for method, tuning in study.tunings(regime).items()
    ]
    data = known_then(params.datasets[dataset], exclude={"rotate_validation"})  # no study does
    encoder = with_cuts(params, **cuts_of(study, regime))
    sections = [
        study.search if regime == CLEAN else Search(seed=study.search.seed, methods=study.tunings(regime)),
        params.validate_,
        *(encoder[name] for name in (params.encoders.image, params.encoders.text)),
        *(part for one in made_with for part in (one.method, one.backbone)),
    ]
    content = [known_then(section) for section in sections]
    content.insert(1, data)
    content += [known_then(one.training, exclude=WHERE_IT_RUNS, exclude_none=True) for one in made_with]
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def run_fingerprint(
    params: Params, study: Study, dataset: str, where: tuple[str, str], search: SearchRecord | None
) -> str:
    """A hash of all settings on which the runs of a variant under a condition depend; not of the code."""
    tuned = search.chosen(study.variants[where[0]].of) if search else {}
    one, corruption = params_of(params, study, dataset, where, tuned), corruption_of(where[1])
    spoilt = None if corruption is None else known_then(corruption)
    return training_fingerprint(one, where[0], known_then(one.evaluate, exclude=RESAMPLING), spoilt)


def training_fingerprint(one: Params, method: str, *beside: Any) -> str:
    """A hash of all settings on which a training on the dataset of `one` depends, and of what counts beside."""
    content = [
        known_then(one.datasets[one.dataset]),
        *(known_then(section) for section in (one.validate_, one.backbone, one.method[method])),
        *(known_then(one.encoder[name]) for _, name in one.encoders),
        known_then(one.training, exclude=WHERE_IT_RUNS, exclude_none=True),
        *beside,
    ]
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def known_then(section: Section, **asked: Any) -> dict[str, Any]:
    """A section's content without the keys that came later and are at their defaults."""
    content = section.model_dump(mode="json", **asked)
    given, name = section.model_dump(exclude_defaults=True), type(section).__name__.lower()
    return {
        key: value
        for key, value in content.items()
        if key in given or ADDED_LATER.isdisjoint((key, f"{name}.{key}"))
    }


def search_gone_by(
    params: Params, study: Study, root: Path, dataset: str, condition: str = CLEAN
) -> SearchRecord | None:
    """The record that the runs of a dataset under a condition go by; None if it has not been made."""
    path = current_search(params, study, root, dataset, study.search_of(condition))
    return read_search(path) if path.is_file() else None


def best(scores: list[float]) -> int:
    """The place of the highest score; of equal ones the first."""
    return max(range(len(scores)), key=lambda place: scores[place])
