"""Keeps Snakemake and DVC in step: either may run the pipeline, then the other has nothing to do.

dvc.lock is the receipt of what every output was made from; Snakemake decides by its own records and file times.
- `start`, when the Snakefile is read: where DVC has put outputs in place (`dvc repro`, `checkout`, `pull`),
  those it finds unchanged get `snakemake --touch`, and those it finds outdated are made old, so that hashes win
  over file times.
- `finish`, when Snakemake ends in whatever way: the stages whose outputs are up to date are committed to DVC.
Only the process that reads the Snakefile first does this, never the jobs.
"""

import atexit
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from relalign.errors import RelalignError
from relalign.orchestration.changed_sources import changed_sources
from relalign.orchestration.pipeline import Pipeline, Stage
from relalign.system.artifacts import canonical_json, write_atomic

LOCK = Path("dvc.lock")
SEEN = Path(
    ".snakemake/dvc-seen.json"
)  # of stages, their entry in dvc.lock and their outputs' times, as last seen
RUNNING = Path(".snakemake/running")
NESTED = "RELALIGN_NESTED"  # set for the commands started from here


def start(workflow: Any, pipeline: Pipeline) -> None:
    """Take over what DVC did since the last run, and arrange for `finish`. To be called in the Snakefile."""
    if not workflow.is_main_process or NESTED in os.environ or not _take_running_lock():
        return
    shutil.rmtree(".snakemake/locks", ignore_errors=True)  # nobody holds ours: a killed run left these
    unprotect(output for stage in pipeline.stages.values() for output in stage.outputs)
    if _unseen(pipeline):
        _take_over(pipeline)
    _forget_changed_sources(pipeline)
    atexit.register(finish, workflow, pipeline, pipeline.sources_digest())


def finish(workflow: Any, pipeline: Pipeline, digest: str) -> None:
    """Commit the stages that this run left up to date and dvc.lock does not describe yet."""
    dag = workflow._dag
    if dag is None or workflow.dryrun:
        return
    ready = {str(file) for job in dag.jobs if dag.finished(job) or not dag.needrun(job) for file in job.output}
    stages = {name for name, stage in pipeline.stages.items() if ready.issuperset(stage.outputs)}
    if not stages & _unseen(pipeline):
        return
    if digest != pipeline.sources_digest():
        sys.stderr.write("Code or parameters were edited during the run: nothing committed to DVC. Run again.\n")
        return
    try:
        sys.stderr.write(f"DVC: recording {len(stages)} stages in dvc.lock and the cache ...\n")
        changed = _dvc_records("commit", stages)
        if changed:
            sys.stderr.write(f"dvc.lock describes {len(changed)} new results; commit it with git to keep them.\n")
        _remember(pipeline, stages)
    except RelalignError as error:
        sys.stderr.write(f"Not committed to DVC, which the next run will try again: {error}\n")


def _forget_changed_sources(pipeline: Pipeline) -> None:
    for item in pipeline.items("download"):
        dataset = pipeline.parameters["datasets"].get(item["dataset"], {})
        raw = pipeline.stage("download", item).outputs[0]
        if changed := changed_sources(dataset, Path(raw)):
            sys.stderr.write(f"Changed since they were read, so the data are read anew: {', '.join(changed)}\n")
            _make_old([raw])


def _unseen(pipeline: Pipeline) -> set[str]:
    """The stages that DVC or an unfinished run may have changed since they were last remembered."""
    seen, entries = _seen(), _locked()
    return {
        name
        for name, stage in pipeline.stages.items()
        if entries.get(name) != seen["entries"].get(name)
        or any(time is not None and time != seen["times"].get(out) for out, time in _times(stage).items())
    }


def _take_over(pipeline: Pipeline) -> None:
    """Make Snakemake see as DVC does what DVC did. What a killed run of Snakemake did is left to Snakemake."""
    entries, seen = _locked(), _seen()
    known = pipeline.stages.keys() & entries.keys()
    outdated = pipeline.with_descendants(_dvc_records("changed", known) | (pipeline.stages.keys() - known))
    by_dvc = {name for name in known if entries[name] != seen["entries"].get(name)}
    renewed = pipeline.with_descendants(by_dvc - outdated) - outdated
    for name in known - outdated - renewed:  # the content is as it was: so shall its time be
        _set_times({out: seen["times"].get(out) for out in pipeline.stages[name].outputs})
    _make_old([out for name in by_dvc & outdated for out in pipeline.stages[name].outputs])
    if renewed:
        outs = [out for name in renewed for out in pipeline.stages[name].outputs]
        _run("snakemake", "--touch", "--force", "--rerun-incomplete", "--cores=1", *outs)
    _remember(pipeline, by_dvc | (known - outdated))


def _dvc_records(action: str, names: Iterable[str]) -> set[str]:
    """Those of the stages that DVC finds changed in any way (see `relalign.orchestration.dvc_records`)."""
    names = sorted(names)
    command = ("python", "-m", "relalign.orchestration.dvc_records", action)
    return set(json.loads(_run(*command, *names).splitlines()[-1])) if names else set()


def _make_old(outputs: Iterable[str]) -> None:
    """Without records and with an old file time, Snakemake makes an output again."""
    outputs = [out for out in outputs if Path(out).exists()]
    _set_times(dict.fromkeys(outputs, 1))
    if outputs:
        _run("snakemake", "--cleanup-metadata", *outputs, check=False)  # fails where there was no record


def unprotect(outputs: Iterable[str]) -> None:
    """Make files writable that DVC linked to its cache, by copies of equal time: Snakemake refuses others.

    The cache's own file, the same one under another name, stays as it is. Folders are not concerned.
    """
    for output in map(Path, outputs):
        if output.is_file() and not output.stat().st_mode & stat.S_IWUSR:
            copy = output.with_name(f".{output.name}.writable")
            shutil.copy2(output, copy)
            copy.chmod(0o644)
            copy.replace(output)


def _carrier(output: str) -> Path:
    """What tells Snakemake an output's time: in a folder, its note of when it made the folder."""
    note = Path(output) / ".snakemake_timestamp"
    return note if note.exists() else Path(output)


def _set_times(times: Mapping[str, int | None]) -> None:
    for output, time in times.items():
        if time is not None and Path(output).exists():
            os.utime(_carrier(output), ns=(time, time))


def _times(stage: Stage) -> dict[str, int | None]:
    """When each output was made, in nanoseconds; None for a missing one."""
    return {out: _carrier(out).stat().st_mtime_ns if Path(out).exists() else None for out in stage.outputs}


def _seen() -> dict[str, dict[str, Any]]:
    empty: dict[str, dict[str, Any]] = {"entries": {}, "times": {}}
    return json.loads(SEEN.read_text(encoding="utf-8")) if SEEN.exists() else empty


def _remember(pipeline: Pipeline, names: Iterable[str]) -> None:
    seen, entries = _seen(), _locked()
    for name in names:
        seen["entries"][name] = entries.get(name)
        seen["times"] |= _times(pipeline.stages[name])
    write_atomic(SEEN, canonical_json(seen))


def _locked() -> dict[str, Any]:
    return (yaml.safe_load(LOCK.read_text(encoding="utf-8")) or {}).get("stages", {}) if LOCK.exists() else {}


def _take_running_lock() -> bool:
    """Whether no other Snakemake works here; held until this process ends, however it ends."""
    RUNNING.parent.mkdir(exist_ok=True)
    handle = os.open(RUNNING, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    return True


def _run(program: str, *arguments: str, check: bool = True) -> str:
    """Run a program of this environment; if it fails, what it said is the error's message."""
    command = [str(Path(sys.executable).parent / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, NESTED: "1"}, check=False)
    if check and done.returncode:
        raise RelalignError(
            f"`{' '.join((program, *arguments[:3]))}` failed. If DVC is at work here, wait for it.\n{done.stderr}"
        )
    return done.stdout
