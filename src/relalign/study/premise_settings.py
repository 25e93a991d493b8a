"""The section `premise` of study.yaml: how much of the encoders trains, to see relations lost or kept."""

from typing import Annotated, Any

from pydantic import Field

from relalign.settings.section import Name, NonNegativeCount, Section


class Cut(Section):
    """One training of the baseline: from which layer on each encoder trains (None: it is frozen), and what else
    differs (`training.epochs: 40`, `temperature: 0.1`)."""

    image: str | None = None
    text: str | None = None
    change: dict[str, Any] = {}
    datasets: Annotated[tuple[Name, ...], Field(strict=False, min_length=1)] | None = None
    seeds: Annotated[tuple[NonNegativeCount, ...], Field(strict=False, min_length=1)] | None = None


class Premise(Section):
    """`method` is trained with every cut, on validation only; `change` is made to all of them."""

    method: Name
    datasets: Annotated[tuple[Name, ...], Field(strict=False)]
    seeds: Annotated[tuple[NonNegativeCount, ...], Field(strict=False, min_length=1)]
    change: dict[str, Any] = {}
    cuts: dict[Name, Cut]

    def runs_on(self, dataset: str) -> dict[str, tuple[int, ...]]:
        """The cuts of a dataset, each with its seeds."""
        return {
            name: cut.seeds or self.seeds
            for name, cut in self.cuts.items()
            if dataset in (cut.datasets or self.datasets)
        }
