"""Where every artifact lies, in one place (the rules and DVC's stages spell out the same paths)."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths of one dataset's artifacts under the project folder `root`."""

    root: Path
    dataset: str

    @property
    def raw(self) -> Path:
        """What was downloaded and unpacked."""
        return self.root / "data/raw" / self.dataset

    @property
    def pairs(self) -> Path:
        """The checked pairs table."""
        return self.root / "data/pairs" / self.dataset

    @property
    def relevance(self) -> Path:
        """How relevant each test image is to each test caption."""
        return self.root / "data/relevance" / self.dataset

    def study_picture(self, name: str) -> Path:
        """A picture that the study drew of this dataset, kept in git."""
        return self.root / "docs/study" / f"{self.dataset}-{name}.svg"

    def encoder(self, name: str) -> Path:
        """A frozen encoder's weights and configuration."""
        return self.root / "data/encoders" / name

    def features(self, encoder: str) -> Path:
        """A frozen encoder's features of this dataset."""
        return self.root / "data/features" / self.dataset / encoder

    def teacher(self, encoder: str) -> Path:
        """A teacher that was trained from this encoder on this dataset."""
        return self.root / "data/teachers" / self.dataset / encoder

    @property
    def results(self) -> Path:
        """All results on this dataset."""
        return self.root / "results" / self.dataset

    def method(self, method: str) -> Path:
        """What one entry of `method` amounts to (see `relalign.orchestration.method_identity`)."""
        return self.results / method / "method.json"

    def run(self, method: str, seed: int) -> Path:
        """One method with one seed: `model/`, `embeddings/`, `evaluation/`, `metrics.json`, `summary.json`."""
        return self.results / method / f"seed{seed}"

    def receipt(self, method: str, seed: int) -> Path:
        """What one run's evaluation came to (see `relalign.orchestration.receipts`)."""
        return self.results / ".receipts" / f"{method}-seed{seed}.json"
