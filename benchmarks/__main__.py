"""All timings in one command (`python -m benchmarks`, or `make benchmarks`), beside the budgets they answer to.

Run it on a quiet machine. The parts can be run alone: `benchmarks.start_up`, `benchmarks.pipeline` and
`benchmarks.search_page` (both after a run of the pipeline), `benchmarks.objectives`, `benchmarks.metrics`. Not
among them, as they take long, look at trained models or fetch files: `benchmarks.exported_model`, `run_profile`,
`cross_validation`, `dvc_commit`, `download_size`, `meta_step`, `search_index`, `attention` and `entropy_control`.
"""

import subprocess
import sys

PARTS = ("start_up", "pipeline", "search_page", "objectives", "metrics")


def main():
    failed = []
    for part in PARTS:
        print(f"\n== {part}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{part}"]).returncode:
            failed.append(part)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
