import re

import pytest

from relalign.cli import main
from relalign.comparison.stage import read_comparison
from tests.runs_on_disk import random_embeddings, write_evaluated_run


@pytest.fixture
def runs(tmp_path):
    for name, noise in (("good", 0.3), ("bad", 2.0)):
        for seed in (0, 1):
            run = tmp_path / name / f"seed{seed}"
            run.mkdir(parents=True)
            write_evaluated_run(run, random_embeddings(noise=noise, seed=seed))
    return tmp_path


def test_two_runs_are_compared_with_interval_p_and_n(runs, capsys):
    assert main(["compare", str(runs / "good/seed0"), str(runs / "bad/seed0"), "--metrics", "rsum"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["metric", "run", "good/seed0", "value"]
    assert re.match(r"rsum +bad/seed0 +[\d.]+ +[\d.]+ +-[\d.]+ +\[-[\d.]+, -[\d.]+\] +0\.0001 +0\.0001 +40$", line)


def test_a_folder_of_seeds_is_one_system(runs, capsys):
    out = runs / "table.csv"
    assert main(["compare", str(runs / "good"), str(runs / "bad"), "--output", str(out)]) == 0
    assert read_comparison(out).seeds == 2
    assert read_comparison(out).entries["bad"]["rsum"].difference < 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["good", "good"], "stands twice"),
        (["good", "."], "holds neither"),
        (["good", "bad", "--metrics", "nothing/*"], "No metric"),
    ],
)
def test_what_cannot_be_compared_is_a_clear_error(runs, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(runs)
    assert main(["compare", *arguments]) == 2
    assert message in capsys.readouterr().err
