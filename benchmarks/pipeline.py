"""What each stage of the last Snakemake runs took, from Snakemake's own benchmark files under `logs/`."""

import sys
from pathlib import Path

import pandas as pd


def main():
    files = sorted(Path("logs").glob("**/*.benchmark.tsv"))
    if not files:
        sys.exit("logs/ holds no benchmark yet: run the pipeline first")
    rows = [pd.read_csv(file, sep="\t").iloc[-1] for file in files]
    print(f"{'':64}{'seconds':>9}{'CPU s':>9}{'peak MB':>9}")
    for file, row in zip(files, rows, strict=True):
        name = file.relative_to("logs").as_posix().removesuffix(".benchmark.tsv")
        cpu, peak = (float(pd.to_numeric(row[column], errors="coerce")) for column in ("cpu_time", "max_rss"))
        print(f"{name:64}{row['s']:9.1f}{cpu:9.1f}{peak:9.0f}")


if __name__ == "__main__":
    main()
