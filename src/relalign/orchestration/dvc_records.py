"""Asking DVC about many stages, and committing them, with one reading and one writing of dvc.lock.

DVC's own commands read the whole file anew for each stage that they are given, which takes a time that grows with
the square of their number (8 minutes for the status of 268 stages). To be run as a program of its own:

    python -m relalign.orchestration.dvc_records changed|commit STAGE...

prints, in its last line, the names of the stages that had changed, as a JSON list. (DVC prints there, too.)
"""

import json
import sys
from collections.abc import Collection
from pathlib import Path

from dvc.repo import Repo, lock_repo


def changed(names: Collection[str], *, commit: bool) -> list[str]:
    """Those of the stages that DVC finds changed; with `commit`, dvc.lock describes them afterwards."""
    with Repo() as repo, lock_repo(repo):
        stages = [stage for stage in repo.index.stages if stage.name in names and stage.status()]
        if commit:
            for stage in stages:
                stage.save()
                # Snakemake keeps a folder's time itself; a file that is linked anew would look newer than it is.
                stage.commit(relink=all(Path(out.fs_path).is_dir() for out in stage.outs))
            if stages:
                stages[0].dvcfile.dump_stages(stages, update_pipeline=False)
    return [stage.name for stage in stages]


if __name__ == "__main__":
    found = changed(set(sys.argv[2:]), commit=sys.argv[1] == "commit")
    sys.stdout.write(f"{json.dumps(found)}\n")
