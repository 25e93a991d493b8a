"""Which trained run is the best on validation, where each seed may have a validation split of its own."""

from collections.abc import Mapping

from relalign.layout import Layout
from relalign.settings import Params
from relalign.system.artifacts import MANIFEST
from relalign.training.history import validation_rsum

Run = tuple[str, int]  # a method and a seed


def trained_seeds(layout: Layout, method: str) -> list[int]:
    """The seeds of a method that are trained, in order."""
    folders = (path.parents[1].name for path in layout.run(method, 0).parent.glob(f"seed*/model/{MANIFEST}"))
    return sorted(int(name[4:]) for name in folders if name[4:].isdigit())


def validation_scores(params: Params, layout: Layout, methods: tuple[str, ...]) -> dict[Run, float]:
    """What to choose the best of all trained runs of these methods by: Rsum on validation.

    With `rotate_validation` it is what a run is above the others on its seed's split (`above_others`).
    """
    rsums = {
        (method, seed): validation_rsum(layout.run(method, seed) / "model")
        for method in methods
        for seed in trained_seeds(layout, method)
    }
    return above_others(rsums) if params.datasets[params.dataset].rotate_validation else rsums


def above_others(rsums: Mapping[Run, float]) -> dict[Run, float]:
    """Each run's Rsum less the mean of its seed's, over the methods that have every seed (or all, if none has).

    Splits of which one is easier than the other are so made alike.

    >>> above_others({("a", 0): 301.0, ("b", 0): 303.0, ("a", 1): 201.0, ("b", 1): 207.0})
    {('a', 0): -1.0, ('b', 0): 1.0, ('a', 1): -3.0, ('b', 1): 3.0}
    """
    methods, seeds = ({run[place] for run in rsums} for place in (0, 1))
    complete = {method for method in methods if all((method, seed) in rsums for seed in seeds)} or methods
    levels = {
        seed: [rsum for (method, other), rsum in rsums.items() if other == seed and method in complete]
        for seed in seeds
    }
    return {run: rsum - sum(levels[run[1]]) / len(levels[run[1]]) for run, rsum in rsums.items()}
