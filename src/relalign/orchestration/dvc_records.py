"""Asking DVC about many stages, and committing them, with one reading and one writing of dvc.lock.

DVC's own commands read the whole file anew for each stage that they are given, which takes a time that grows with
the square of their number (8 minutes for the status of 268 stages). To be run as a program of its own:

    python -m relalign.orchestration.dvc_records changed|commit STAGE...

prints, in its last line, the names of the stages that had changed, as a JSON list. (DVC prints there, too.)
"""

import json
import shutil
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvc.dvcfile import Lockfile
from dvc.repo import Repo, lock_repo
from dvc.rwlock import RWLOCK_FILE


def changed(names: Collection[str], *, commit: bool) -> list[str]:
    """Those of the stages that DVC finds changed; with `commit`, dvc.lock describes them afterwards."""
    with Repo() as repo, lock_repo(repo):
        _drop_torn_notes(Path(repo.tmp_dir) / RWLOCK_FILE)
        stages = [stage for stage in repo.index.stages if stage.name in names and stage.status()]
        if commit:
            for stage in stages:
                stage.save()
                # Snakemake keeps a folder's time itself; a file that is linked anew would look newer than it is.
                stage.commit(relink=all(Path(out.fs_path).is_dir() for out in stage.outs))
            if stages:
                _describe(stages, Path(repo.tmp_dir) / "dvc.lock")
    return [stage.name for stage in stages]


def _describe(stages: Sequence[Any], draft: Path) -> None:
    """Write dvc.lock beside its place first: DVC itself writes it in place, and a kill would leave half of it."""
    lock = Path(stages[0].dvcfile.path).with_name("dvc.lock")
    draft.unlink(missing_ok=True)
    if lock.exists():
        shutil.copyfile(lock, draft)
    Lockfile(stages[0].repo, str(draft)).dump_stages(stages)
    draft.replace(lock)


def _drop_torn_notes(notes: Path) -> None:
    """Remove DVC's notes of who is at work if a kill left half of them: DVC would refuse everything."""
    with suppress(FileNotFoundError):
        try:
            json.loads(notes.read_bytes())
        except ValueError:
            notes.unlink()


if __name__ == "__main__":
    found = changed(set(sys.argv[2:]), commit=sys.argv[1] == "commit")
    sys.stdout.write(f"{json.dumps(found)}\n")
