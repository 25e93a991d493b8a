"""What each stage of the last Snakemake runs took: the last lines of the logs under `logs/`."""

import sys
from pathlib import Path

from relalign.system.cost import cost_in


def main():
    costs = {file: cost_in(file.read_text(encoding="utf-8")) for file in sorted(Path("logs").glob("**/*.log"))}
    known = {file: cost for file, cost in costs.items() if cost is not None}
    if not known:
        sys.exit("logs/ holds no log of a stage yet: run the pipeline first")
    print(f"{'':64}{'seconds':>9}{'CPU s':>9}{'peak MB':>9}")
    for file, (seconds, cpu, peak) in known.items():
        print(f"{file.relative_to('logs').with_suffix('').as_posix():64}{seconds:9.1f}{cpu:9.1f}{peak:9.0f}")
    seconds, cpu, peak = zip(*known.values(), strict=True)
    print(f"{'all':64}{sum(seconds):9.1f}{sum(cpu):9.1f}{max(peak):9.0f}")


if __name__ == "__main__":
    main()
