"""Breaks the promises one after another in copies of this project, and sees the test of each go red.

`python -m tests.reliability.mutations` does all, `... 6 17` those of promises 6 and 17, `-j 2` two at once. The
exit status is 1 if a test stays green, or fails because the copy could not be imported at all.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.reliability.promises import PROMISES, Promise

REPOSITORY = Path(__file__).parents[2]
SECONDS = 900
RED = "red"
SKIPPED = "skipped here, as a program is missing"
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "--assert=plain")  # to explain a difference can take minutes


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.mutations", description=__doc__)
    parser.add_argument("numbers", nargs="*", type=int, help="promises to break (default: all)")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="how many at once")
    options = parser.parse_args(arguments)
    chosen = [promise for promise in PROMISES if promise.number in (options.numbers or range(100))]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        whole = _copy(Path(folder) / "whole")
        code, output = _pytest(whole, dict.fromkeys(promise.test for promise in chosen))
        if code != 0:
            print(f"The tests are not green as it is:\n{output[-6000:]}")
            return 1
        work = [(promise, Path(folder) / str(place)) for place, promise in enumerate(chosen)]
        outcomes = []
        for promise, outcome in zip(chosen, pool.map(lambda one: _outcome(*one), work), strict=True):
            outcomes.append(outcome)
            print(f"{promise.number:2} {outcome}: {promise.sentence} <- {promise.broken}", flush=True)
    print(f"{outcomes.count(RED)} of {len(outcomes)} mutations were found")
    return 0 if set(outcomes) <= {RED, SKIPPED} else 1


def _outcome(promise: Promise, folder: Path) -> str:
    """What the test of a promise says of a copy in which the promise is broken."""
    path = _copy(folder) / promise.file
    path.write_text(path.read_text(encoding="utf-8").replace(promise.text, promise.replacement), encoding="utf-8")
    try:
        code, output = _pytest(folder, [promise.test])
    except subprocess.TimeoutExpired:
        return f"no end in {SECONDS} s"
    finally:
        for left in (folder, folder.with_name(f"{folder.name}.tmp")):
            shutil.rmtree(left, ignore_errors=True)
    if code == 0:
        return SKIPPED if re.search(r"^1 skipped", output, re.M) else "SURVIVED"
    broken = re.search(
        r"^E +(SyntaxError|IndentationError|ImportError|ModuleNotFoundError|NameError)", output, re.M
    )
    return f"NOT A TEST FAILURE\n{output[-3000:]}\n" if code != 1 or broken else RED


def _copy(folder: Path) -> Path:
    """What git would commit now."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    subprocess.run(
        ["git", "init", "--quiet"], cwd=folder, check=True
    )  # tests of the workflow clone what git lists
    return folder


def _pytest(folder: Path, tests: Sequence[str] | dict[str, None]) -> tuple[int, str]:
    """pytest's exit status and output; hypothesis takes the same examples each time."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, f"--basetemp={folder}.tmp", *tests],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{folder}/src", "CI": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    return done.returncode, done.stdout


if __name__ == "__main__":
    sys.exit(main())
