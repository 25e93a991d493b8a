"""Where the study's artifacts lie: beside those of the pipeline, whose data and clean features it shares."""

from dataclasses import dataclass
from pathlib import Path

from relalign.layout import Layout
from relalign.settings import Params
from relalign.study.settings import CLEAN, corruption_of

SEARCH = "search"


def search_condition(regime: str) -> str:
    """Under which name the trials of a search lie: `search`, or `search_<regime>`."""
    return SEARCH if regime == CLEAN else f"{SEARCH}_{regime}"


@dataclass(frozen=True)
class StudyLayout(Layout):
    """The layout of runs on one dataset under one condition; `own` are the encoders whose features are its own.

    A corruption has those of the encoder whose inputs it spoils, a regime those of both, below their cuts.
    """

    condition: str = CLEAN
    own: frozenset[str] = frozenset()

    @classmethod
    def of(cls, root: Path, dataset: str, condition: str, params: Params) -> "StudyLayout":
        """The layout for a condition of study.yaml, or for a search (`search_condition`)."""
        corruption = corruption_of(condition)
        if corruption is not None:
            own = frozenset({str(getattr(params.encoders, corruption.modality))})
        else:
            own = frozenset() if condition in (CLEAN, SEARCH) else frozenset(name for _, name in params.encoders)
        return cls(root, dataset, condition, own)

    @property
    def results(self) -> Path:
        """All results of this condition."""
        return self.study / self.condition

    @property
    def study(self) -> Path:
        """All results of the study on this dataset."""
        return self.root / "results" / self.dataset / "study"

    def features(self, encoder: str) -> Path:
        """The condition's own features of an encoder, or the pipeline's."""
        if encoder not in self.own:
            return super().features(encoder)
        return self.root / "data/study" / self.dataset / self.condition.removeprefix(f"{SEARCH}_") / encoder

    def trial(self, method: str, trial: int, seed: int) -> Path:
        """One trial of the search: `model/` and `validation.json`."""
        return self.run(f"{method}-trial{trial}", seed)

    @property
    def search(self) -> Path:
        """The record of all trials (`relalign.study.search`)."""
        return self.study / f"{self.condition}.json"
