"""All timings in one command (`python -m benchmarks`, or `make benchmarks`), beside the budgets they answer to.

Run it on a quiet machine. The parts can be run alone: `benchmarks.start_up`, `benchmarks.pipeline` (after a run of
the pipeline), `benchmarks.objectives`, `benchmarks.metrics`, `benchmarks.run_profile`,
`benchmarks.dvc_commit`. `benchmarks.meta_step` and `benchmarks.attention`
look at trained models.
"""

import subprocess
import sys

PARTS = ("start_up", "pipeline", "objectives", "metrics")


def main():
    failed = []
    for part in PARTS:
        print(f"\n== {part}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{part}"]).returncode:
            failed.append(part)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
