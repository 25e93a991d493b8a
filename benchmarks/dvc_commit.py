"""How long Snakemake waits for DVC at its end: committing all stages, and looking at them all again.

`python -m benchmarks.dvc_commit [--seeds 3 14 56]`: projects with this repository's sources and dvc.yaml, so many
seeds, and outputs of a few bytes.
"""

import argparse
import math
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from relalign.orchestration.pipeline import Pipeline

ROOT = Path(__file__).parents[1]


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dvc_commit", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 14, 56], help="default: %(default)s")
    measured = [measure(seeds) for seeds in parser.parse_args().seeds]
    print("stages  dvc.lock lines  status s  commit s")
    for stages, lines, status, commit in measured:
        print(f"{stages:6}  {lines:14}  {status:8.1f}  {commit:8.1f}")
    if len(measured) > 1:
        (fewest, *_, first), (most, *_, last) = measured[0], measured[-1]
        exponent = math.log(last / first) / math.log(most / fewest)
        print(f"time of the commit grows as stages to the power {exponent:.2f}")


def measure(seeds):
    """(stages, lines of dvc.lock, seconds of looking at all stages again, seconds of the commit)."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        stages = make_project(root, seeds)
        commit, status = (
            timed(root, sys.executable, "-m", "relalign.orchestration.dvc_records", action, *stages)
            for action in ("commit", "changed")
        )
        return len(stages), (root / "dvc.lock").read_text().count("\n"), status, commit


def make_project(root, seeds):
    """Sources, and an output of some bytes wherever dvc.yaml has one; the stages' names."""
    for name in (".dvc/config", ".dvcignore", "dvc.yaml", "params.yaml", "src"):
        (root / name).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["seeds"] = list(range(seeds))
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    stages = Pipeline(params, root).stages
    for output in (output for stage in stages.values() for output in stage.outputs):
        file = root / output if Path(output).suffix else root / output / "file"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(output)
    return list(stages)


def timed(root, *command):
    start = time.perf_counter()
    subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
