"""Where the study's artifacts lie: beside those of the pipeline, whose data and clean features it shares."""

from dataclasses import dataclass
from pathlib import Path

from relalign.layout import Layout
from relalign.settings import Params
from relalign.study.settings import CLEAN, corruption_of

SEARCH = "search"


@dataclass(frozen=True)
class StudyLayout(Layout):
    """The layout of runs on one dataset under one condition; `corrupted` is the encoder whose inputs it spoils."""

    condition: str = CLEAN
    corrupted: str | None = None

    @classmethod
    def of(cls, root: Path, dataset: str, condition: str, params: Params) -> "StudyLayout":
        """The layout for a condition of study.yaml, or for `search`."""
        corruption = None if condition == SEARCH else corruption_of(condition)
        corrupted = None if corruption is None else getattr(params.encoders, corruption.modality)
        return cls(root, dataset, condition, corrupted)

    @property
    def results(self) -> Path:
        """All results of this condition."""
        return self.study / self.condition

    @property
    def study(self) -> Path:
        """All results of the study on this dataset."""
        return self.root / "results" / self.dataset / "study"

    def features(self, encoder: str) -> Path:
        """The corrupted features of the one encoder, or the pipeline's own."""
        if encoder != self.corrupted:
            return super().features(encoder)
        return self.root / "data/study" / self.dataset / self.condition / encoder

    def trial(self, method: str, trial: int, seed: int) -> Path:
        """One trial of the search: `model/` and `validation.json`."""
        return self.run(f"{method}-trial{trial}", seed)

    @property
    def search(self) -> Path:
        """The record of all trials (`relalign.study.search`)."""
        return self.study / "search.json"
