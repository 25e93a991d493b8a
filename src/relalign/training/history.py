"""The history of a training, `model/history.csv`: a row an epoch, of which the first is the start."""

import csv
from collections.abc import Sequence
from pathlib import Path

from relalign.system.artifacts import read_manifest

FILE = "history.csv"
Row = dict[str, float | int]


def write_history(folder: Path, history: Sequence[Row]) -> None:
    """Write the rows with the same columns in one order (a checkpoint does not keep theirs)."""
    names = ["epoch", *sorted({name for row in history for name in row} - {"epoch"})]
    with (folder / FILE).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(history)


def read_history(model: Path) -> list[dict[str, float]]:
    """The rows of a published model, without what a row has not; `RelalignError` if the model is incomplete."""
    read_manifest(model, verify=True)
    with (model / FILE).open(newline="", encoding="utf-8") as stream:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(stream)]


def validation_rsum(model: Path) -> float:
    """The validation Rsum of the epoch that training selected; that of the start where nothing is trained."""
    training = read_manifest(model)["parameters"]["training"]
    rows = [row for row in read_history(model) if "val/rsum" in row]
    late = [row for row in rows if row["epoch"] > training["select_from"] * training["epochs"]]
    return max(row["val/rsum"] for row in late or rows[:1])
