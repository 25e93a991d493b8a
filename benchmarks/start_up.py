"""How long the command line takes to start, and a run with nothing to do: the median of several."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 5
BINARIES = Path(sys.executable).parent
CASES = {
    "import of the command line": ([sys.executable, "-c", "import relalign.cli"], 0.5),
    "relalign --help": ([str(BINARIES / "relalign"), "--help"], 0.5),
    "snakemake --cores all, nothing changed": ([str(BINARIES / "snakemake"), "--cores", "all"], 10.0),
    "dvc repro, nothing changed": ([str(BINARIES / "dvc"), "repro"], 10.0),
}


def seconds(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main():
    made = any(Path("results").glob("*/report.html"))
    print(f"{'':42}{'seconds':>9}{'budget':>8}")
    for name, (command, budget) in CASES.items():
        if "nothing changed" in name and not made:
            print(f"{name:42}  run the pipeline first")
            continue
        runs = [seconds(command) for _ in range(RUNS if budget < 1 else 1)]
        print(f"{name:42}{statistics.median(runs):9.2f}{budget:8.1f}")


if __name__ == "__main__":
    main()
