"""What is kept of the study's runs on one dataset (`relalign.study.kept`), as far as it is there."""

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relalign.comparison.paired import System, summarise
from relalign.metrics.resampling import draw_weights
from relalign.settings import Params
from relalign.settings.evaluate import Evaluate
from relalign.study.kept import Where, read_kept, wanted_runs
from relalign.study.record import SearchRecord, search_gone_by
from relalign.study.settings import CLEAN, Study, changed

MEAN_NDCG = "ndcg@10"  # of both modalities


class NotRunError(Exception):
    """Says what is missing."""


class NotPlannedError(NotRunError):
    """What is missing is not asked for by study.yaml."""


class NotComparableError(NotRunError):
    """What is compared differs in what no comparison may differ in."""


class Results:
    """The runs of one dataset, under all conditions; all were measured on the same queries.

    In a regime of study.yaml its runs take the place of those on clean data, and there are no others.
    """

    def __init__(self, params: Params, study: Study, root: Path, dataset: str, *, regime: str = CLEAN) -> None:
        self.params, self.study, self.root, self.dataset, self.regime = params, study, root, dataset, regime
        wanted, kept = wanted_runs(params, study, root, dataset), read_kept(root, dataset)
        runs = {key: run for key, run in kept.items() if wanted.get(key) == run.settings}
        planned = study.planned(dataset)
        if regime != CLEAN:
            planned = {(name, CLEAN): seeds for (name, at), seeds in planned.items() if at == regime}
            runs = {((name, CLEAN), seed): run for ((name, at), seed), run in runs.items() if at == regime}
        self._planned, self._runs = planned, runs
        self._captions: dict[str, int] = {}
        self._systems: dict[tuple[Where, tuple[int, ...]], System] = {}

    @property
    def name(self) -> str:
        """The dataset, and the regime if it is not the rest of the study's."""
        return self.dataset if self.regime == CLEAN else f"{self.dataset}, {self.regime}"

    @property
    def stem(self) -> str:
        """What the names of its pictures begin with."""
        return self.dataset if self.regime == CLEAN else f"{self.dataset}-{self.regime}"

    @cached_property
    def images(self) -> NDArray[np.int64]:
        """The test images that any query belongs to."""
        return np.unique(
            np.concatenate([run.result.queries["image_id"].to_numpy() for run in self._runs.values()])
        )

    def variants(self) -> list[str]:
        """Those with results on clean data, in the order of study.yaml."""
        return [
            name for name in self.study.variants if (name, CLEAN) in self._planned and self.seeds((name, CLEAN))
        ]

    def comparable(self) -> list[str]:
        """Those of them with their method's own model and training: between others, these differ too."""
        return [name for name in self.variants() if self.study.variants[name].comparable]

    def seeds(self, *wheres: Where) -> tuple[int, ...]:
        """The seeds that all of these were run with."""
        done = [{seed for there, seed in self._runs if there == self._standing(where)} for where in wheres]
        return tuple(sorted(set.intersection(*done)))

    def check_planned(self, *wheres: Where) -> None:
        """Raise `NotPlannedError` for what study.yaml does not ask for."""
        for where in wheres:
            if self._standing(where) not in self._planned:
                raise NotPlannedError(where[0])

    def systems(self, *wheres: Where) -> list[System]:
        """Systems to be compared, over the seeds that all of them have; `NotRunError` if there is none."""
        self.check_planned(*wheres)
        for where in wheres:
            if not self.seeds(where):
                raise NotRunError(where[0] if where[1] == CLEAN else f"{where[0]} under {where[1]}")
        shared = self.seeds(*wheres)
        if not shared:
            raise NotRunError("a seed in common")
        return [self.system(where, shared) for where in wheres]

    def _standing(self, where: Where) -> Where:
        """What claims about a variant are about: itself, or what stands for it where it is not run."""
        variant = self.study.variants.get(where[0])
        if where in self._planned or variant is None or variant.elsewhere is None:
            return where
        return variant.elsewhere, where[1]

    def value(self, where: Where, seed: int, metric: str) -> float | None:
        """One number of one run."""
        system = self.system(where, (seed,))
        return system.values[metric][0] if metric in system.values else None

    def history(self, where: Where, seed: int) -> pd.DataFrame:
        """A row an epoch of one training; row `epoch` 0 is the start."""
        return self._runs[where, seed].history

    def text_share(self, where: Where, seed: int) -> float | None:
        """The text teacher's share in the learned mix at the end of training; None for methods without."""
        history = self.history(where, seed)
        for column, share in (("mix", 1.0), ("image_trust", -1.0)):
            if column in history and history[column].notna().any():
                last = float(history[column].dropna().iloc[-1])
                return last if share > 0 else 1 - last
        return None

    @property
    def judged_by(self) -> Evaluate:
        """The settings of the tests behind the verdicts."""
        return self.params.evaluate.model_copy(update={"permutations": self.study.permutations})

    @cached_property
    def search(self) -> SearchRecord | None:
        """The search that the runs go by; None if it has not been run."""
        return search_gone_by(self.params, self.study, self.root, self.dataset, self.regime)

    def captions(self, variant: str) -> int:
        """How many captions of an image a step of this variant contrasts it with."""
        variant = self._standing((variant, CLEAN))[0]
        if variant in self._captions:
            return self._captions[variant]
        of = self.study.variants[variant].of
        tuned = self.search.chosen(of) if self.search else {}
        change = self.study.change_of(variant, self.regime, tuned)
        made_with = changed(self.params, self.study, of, change, where=variant)
        found = max(made_with.training.captions_per_step, getattr(made_with.method, "captions", 1))
        self._captions[variant] = found
        return found

    def system(self, where: Where, seeds: tuple[int, ...]) -> System:
        """One variant under one condition over these of its seeds."""
        where = self._standing(where)
        if (where, seeds) not in self._systems:
            made = summarise([self._runs[where, seed].result for seed in seeds], self.images, self._weights)
            self._systems[where, seeds] = _with_mean_ndcg(made)
        return self._systems[where, seeds]

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        settings = self.params.evaluate
        return draw_weights(len(self.images), settings.bootstrap_samples, settings.resampling_seed)


def _with_mean_ndcg(system: System) -> System:
    parts = ("i2i/ndcg@10", "t2t/ndcg@10")
    if not all(part in system.contributions for part in parts):
        return system
    values = np.mean([system.values[part] for part in parts], axis=0).tolist()
    return System(
        values=system.values | {MEAN_NDCG: values},
        estimates=system.estimates | {MEAN_NDCG: np.mean([system.estimates[part] for part in parts], axis=0)},
        contributions=system.contributions
        | {MEAN_NDCG: np.mean([system.contributions[part] for part in parts], axis=0)},
        sizes=system.sizes | {MEAN_NDCG: max(system.sizes[part] for part in parts)},
    )
