"""Lets atheris make up bytes for each reader of files: `python -m tests.reliability.fuzz --seconds 10 [KIND ...]`.

It looks which lines of relalign some bytes reach, and goes on from those that reach new ones. The exit status is 1
if a reader ends in anything but rows or a sentence; the bytes are printed as Base64. atheris is in
an environment of its own (`make fuzz`); where there is no wheel of it, there is nothing to run.
"""

import argparse
import glob
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ".venv/security/lib/python3*/site-packages"


def main(arguments: Sequence[str] | None = None) -> int:
    from tests.reliability.hostile_bytes import KINDS

    parser = argparse.ArgumentParser(prog="python -m tests.reliability.fuzz", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"default: all of {', '.join(KINDS)}")
    parser.add_argument("--seconds", type=int, default=10, help="for each kind; default: %(default)s")
    options = parser.parse_args(arguments)
    return max(run(kind, options.seconds) for kind in options.kinds or KINDS)


def run(kind: str, seconds: int) -> int:
    """Fuzz one kind in a process of its own, as libFuzzer never comes back; 0 if nothing was found."""
    place = next(iter(glob.glob(str(ROOT / ENVIRONMENT))), None)
    if place is None or not any(Path(place).glob("atheris")):
        print("atheris has no wheel for this Python and system: nothing is fuzzed.", file=sys.stderr)
        return 0
    command = [
        sys.executable,
        "-c",
        f"from tests.reliability.fuzz import one; one({kind!r}, {seconds}, {place!r})",
    ]
    with tempfile.TemporaryDirectory() as folder:  # what a reader that is killed leaves behind goes, too
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"TMPDIR": folder}, capture_output=True, text=True, check=False
        )
    lines = done.stderr.splitlines()
    runs = next((line for line in lines if line.startswith("stat::number_of_executed_units")), "no run at all")
    print(
        f"{kind:10} {'nothing found' if done.returncode == 0 else 'A FAULT'}, {runs.split()[-1]} inputs",
        flush=True,
    )
    if done.returncode:
        print("\n".join([*done.stdout.splitlines()[-20:], *lines[-20:]]))
    return int(done.returncode != 0)


def one(kind: str, seconds: int, place: str) -> None:
    """Fuzz one kind in this process, which then ends."""
    sys.path.append(place)
    import atheris

    with atheris.instrument_imports(include=["relalign.data", "relalign.settings.reading"]):
        from tests.reliability.hostile_bytes import KINDS, reads
    with tempfile.TemporaryDirectory() as corpus:
        (Path(corpus) / "whole").write_bytes(KINDS[kind].whole)
        flags = {"artifact_prefix": f"{corpus}/", "max_total_time": seconds, "timeout": 20, "rss_limit_mb": 6000}
        flags |= {"print_final_stats": 1, "max_len": max(4096, len(KINDS[kind].whole))}
        options = [f"-{name}={value}" for name, value in flags.items()]
        atheris.Setup(["fuzz", corpus, *options], lambda content: reads(kind, content))
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
