"""The papers' premise: does matching alone damage relations within a modality, and of what that trains?

The baseline is trained with more and more of its encoders, and on validation, epoch by epoch, image -> image and
text -> text retrieval is measured by the encoders' own vectors and in the shared space
(`relalign.training.relations`). The test split is not read.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relalign.features.extraction import extract_features
from relalign.layout import Layout
from relalign.report import figures
from relalign.settings import Params
from relalign.study.pictures import Plot, picture
from relalign.study.premise_settings import Premise
from relalign.study.record import training_fingerprint
from relalign.study.settings import Study, changed, only
from relalign.system.artifacts import pretty_json, write_atomic
from relalign.system.cost import cost_in
from relalign.training.history import read_history
from relalign.training.runs import train

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDES = {"i2i": "image → image", "t2t": "text → text"}
MEASURES = {
    "ndcg@10": "nDCG@10 (by captions' wording)",
    "kept@10": "of the pretrained encoder's nearest ten kept (%)",
}
PAGE = Path("docs/premise.md")


@dataclass(frozen=True)
class PremiseLayout(Layout):
    """The layout of the runs of one cut: their features are cached below it."""

    cut: str

    @property
    def results(self) -> Path:
        """All results of this cut."""
        return self.root / "results" / self.dataset / "study/premise" / self.cut

    def features(self, encoder: str) -> Path:
        """An encoder's features below the cut."""
        return self.root / "data/study" / self.dataset / "premise" / self.cut / encoder


def make_features(params: Params, study: Study, root: Path, *, dataset: str, cut: str) -> None:
    """Publish what both encoders give below a cut."""
    one, layout = _params(params, study, dataset, cut), PremiseLayout(root, dataset, cut)
    for _, encoder in one.encoders:
        extract_features(
            one.encoder[encoder],
            layout.encoder(encoder),
            layout.pairs,
            layout.features(encoder),
            one.features,
            root=root,
            max_pixels=one.validate_.max_pixels,
        )


def run_cut(params: Params, study: Study, root: Path, *, dataset: str, cut: str, seed: int) -> None:
    """Train the baseline with one cut."""
    one = _params(params, study, dataset, cut)
    train(one, PremiseLayout(root, dataset, cut), method=_premise(study).method, seed=seed)


def write_premise(params: Params, study: Study, root: Path) -> None:
    """Write docs/premise.md and its pictures, where the runs that lack are named.

    What the runs have left is kept (docs/study/premise-<dataset>.json) beside what is kept and still asked for.
    """
    premise, lines = _premise(study), [_INTRODUCTION.format(method=_premise(study).method)]
    for dataset in premise.datasets:
        kept = _keep(params, study, root, dataset)
        runs: dict[str, list[Kept]] = {}
        for (cut, _), run in kept.items():
            runs.setdefault(cut, []).append(run)
        wanted = wanted_cuts(params, study, dataset)
        lacking = [f"{cut} with seed {seed}" for cut, seed in wanted if (cut, seed) not in kept]
        lines.append(f"## {dataset}\n")
        if runs:
            write_atomic(root / f"docs/study/premise-{dataset}.svg", _picture(runs, dataset))
            lines += [f"![relations against Rsum](study/premise-{dataset}.svg)\n", _table(runs)]
        if lacking:
            lines.append(f"Not run: {'; '.join(lacking)}.\n")
    write_atomic(root / PAGE, "\n".join(lines))


def wanted_cuts(params: Params, study: Study, dataset: str) -> dict[tuple[str, int], str]:
    """Every cut and seed that study.yaml asks for, with a hash of what the run is to be made with."""
    premise = _premise(study)
    return {
        (cut, seed): made_with
        for cut, seeds in premise.runs_on(dataset).items()
        for made_with in [training_fingerprint(_params(params, study, dataset, cut), premise.method)]
        for seed in seeds
    }


def kept_cuts(root: Path, dataset: str) -> dict[tuple[str, int], str]:
    """The hash of what each kept run was made with."""
    return {key: run["settings"] for key, run in _read_kept(root, dataset).items()}


History = list[dict[str, float]]
Kept = dict[
    str, Any
]  # settings, a hash; history, a row a validation; cost, what the job's log says if it is there
_COLUMNS = r"epoch|val/(?:rsum|(?:encoder/)?(?:i2i|t2t)/(?:ndcg|kept)@10)"
_INTRODUCTION = """\
# Does matching alone damage relations?

`make premise` trains the baseline (`{method}`) with more and more of its encoders (`premise` in study.yaml) and
writes this page. All numbers are of the validation split; the test split is not read. Solid lines are the
shared space, dashed lines the encoders' own vectors. Each begins where training starts (the encoders
pretrained, the shared space at CCA) and has a point a validation. What is relevant is judged in two ways:
nDCG@10 by the wording of captions (ROUGE-L), and how many of the ten nearest in the pretrained encoder's space
still are, which knows no captions. CPU seconds are those of the whole job, reading and validations among them, on
the machine that ran it. Runs are kept (docs/study/premise-*.json): those that lack are made by the next
`make premise`.
"""


def _premise(study: Study) -> Premise:
    if study.premise is None:
        raise ValueError("study.yaml has no section 'premise'")
    return study.premise


def _params(params: Params, study: Study, dataset: str, name: str) -> Params:
    premise, cut = _premise(study), _premise(study).cuts[name]
    made_with = changed(
        params, study, premise.method, {**premise.change, **cut.change}, where=f"premise.cuts.{name}"
    )
    one = only(params, dataset, premise.method, made_with)
    encoder = {
        key: params.encoder[key].model_copy(update={"train_from": getattr(cut, side)})
        for side, key in one.encoders
    }
    return one.model_copy(update={"encoder": {**params.encoder, **encoder}})


def _kept_path(root: Path, dataset: str) -> Path:
    return root / f"docs/study/premise-{dataset}.json"


def _read_kept(root: Path, dataset: str) -> dict[tuple[str, int], Kept]:
    path = _kept_path(root, dataset)
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {(cut, int(seed)): run for name, run in content.items() for cut, seed in [name.split("/")]}


def _keep(params: Params, study: Study, root: Path, dataset: str) -> dict[tuple[str, int], Kept]:
    """The runs that there are, in the order in which they are asked for: those in `results`, else those kept."""
    before, method, found = _read_kept(root, dataset), _premise(study).method, {}
    for (cut, seed), settings in wanted_cuts(params, study, dataset).items():
        model = PremiseLayout(root, dataset, cut).run(method, seed) / "model"
        if model.exists():
            log = root / f"logs/{dataset}/study/premise/{cut}-{method}-seed{seed}.log"
            history = [
                {name: value for name, value in row.items() if re.fullmatch(_COLUMNS, name)}
                for row in read_history(model)
                if "val/rsum" in row
            ]
            found[cut, seed] = {"settings": settings, "history": history, "cost": _cost(log)}
        elif before.get((cut, seed), {}).get("settings") == settings:
            found[cut, seed] = before[cut, seed]
    if found:
        named = {f"{cut}/{seed}": run for (cut, seed), run in found.items()}
        _kept_path(root, dataset).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(_kept_path(root, dataset), pretty_json(named))
    return found


def _cost(log: Path) -> dict[str, float] | None:
    """CPU seconds and peak memory of a training; None if it went on from a checkpoint, as that is a part of it."""
    text = log.read_text(encoding="utf-8") if log.is_file() else ""
    cost = cost_in(text)
    if cost is None or "resuming after epoch" in text:
        return None
    return {"cpu_seconds": cost[1], "peak_megabytes": cost[2]}


def _picture(runs: dict[str, list[Kept]], dataset: str) -> str:
    style = figures.style_of(list(runs))
    plots = [
        _panel(
            runs,
            f"{side}/{measure}",
            f"{SIDES[side]}: {label}",
            style,
            legend=(side, measure) == ("t2t", "kept@10"),
        )
        for measure, label in MEASURES.items()
        for side in SIDES
    ]
    svg = picture(plots, f"premise-{dataset}")
    assert svg is not None  # noqa: S101 (it has panels)
    return svg


def _panel(runs: dict[str, list[Kept]], metric: str, label: str, style: figures.Style, *, legend: bool) -> Plot:
    def plot(axes: "Axes") -> None:
        for cut, seeds in runs.items():
            colour, marker = style[cut]
            for space, line in (("", "-"), ("encoder/", "--")):
                mean = _mean([run["history"] for run in seeds], ["val/rsum", f"val/{space}{metric}"])
                axes.plot(*mean, line, color=colour, marker=marker, markersize=3, label=None if space else cut)
        axes.set(xlabel="Rsum on validation", title=label)
        axes.title.set_fontsize(8)
        if legend:
            axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

    return plot


def _mean(seeds: Sequence[History], columns: Sequence[str]) -> list[list[float]]:
    """The mean over seeds of each column, by epoch; a seed that stopped early ends the lines."""
    epochs = list(zip(*seeds, strict=False))
    return [[float(np.mean([row[column] for row in rows])) for rows in epochs] for column in columns]


def _table(runs: dict[str, list[Kept]]) -> str:
    """What training did, from the start to the last validation: means over seeds, and the standard deviation."""
    names = [f"{space}{side}/{measure}" for measure in MEASURES for side in SIDES for space in ("encoder/", "")]
    heads = [name.removeprefix("encoder/") + (", encoder" if "encoder/" in name else ", shared") for name in names]
    lines = [
        "Change from the start to the end of training, mean over seeds ± their standard deviation:\n",
        f"| trained from | seeds | CPU s an epoch | peak MB | Rsum at the end | {' | '.join(heads)} |",
        f"| --- {'| --- ' * (4 + len(heads))}|",
    ]
    for cut, each in runs.items():
        seeds = [run["history"] for run in each]
        rsum = [rows[-1]["val/rsum"] for rows in seeds]
        cells = []
        for name in names:
            change = [rows[-1][f"val/{name}"] - rows[0][f"val/{name}"] for rows in seeds]
            spread = f" ± {np.std(change, ddof=1):.2f}" if len(change) > 1 else ""
            cells.append(f"{np.mean(change):+.2f}{spread}")
        costs = [run["cost"] for run in each if run["cost"] is not None]
        epochs = seeds[0][-1]["epoch"]
        spent = f"{np.mean([cost['cpu_seconds'] for cost in costs]) / epochs:.1f}" if costs else "–"
        peak = f"{max(cost['peak_megabytes'] for cost in costs):.0f}" if costs else "–"
        lines.append(f"| {cut} | {len(seeds)} | {spent} | {peak} | {np.mean(rsum):.1f} | {' | '.join(cells)} |")
    if any(len(seeds) == 1 for seeds in runs.values()):
        lines.append("\nA row of one seed is an indication: it says nothing about another training.")
    return "\n".join(lines) + "\n"
