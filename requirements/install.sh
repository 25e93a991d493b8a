#!/usr/bin/env bash
# Fills .venv from the lock files: install.sh PYTHON cpu|cuda
# PIP_FIND_LINKS (folders of wheels) and PIP_INDEX_URL (a mirror of PyPI) are honoured, as by pip.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 kind=$2

"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.lock

install() { .venv/bin/uv pip install --python .venv/bin/python "$@"; }
locked() { install --require-hashes -r requirements/base.lock "$@"; }
if [[ -n ${PIP_INDEX_URL:-} ]]; then export UV_DEFAULT_INDEX=$PIP_INDEX_URL; fi

tag=$(.venv/bin/python -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
has_wheel() { compgen -G "${1#file://}/torch-2.13.0*-$tag-*.whl" > /dev/null; }
folders=() backend=(--torch-backend cpu)  # PyTorch's own index, unless the wheel is at hand
for folder in ${PIP_FIND_LINKS:-}; do
    folders+=(--find-links "$folder")
    if has_wheel "$folder"; then backend=(); fi
done

cpu_build() {
    case "$(uname -s)-$(uname -m)-$tag" in
        Darwin-arm64-*)
            locked ${folders[@]+"${folders[@]}"} -r requirements/torch-cpu.lock ;;
        Linux-x86_64-cp311)
            locked ${folders[@]+"${folders[@]}"} ${backend[@]+"${backend[@]}"} -r requirements/torch-cpu.lock ;;
        *)
            echo "The hash of torch's CPU build for $tag on $(uname -sm) is not in requirements/torch-cpu.lock:" >&2
            echo "torch is installed by version, all else by hash. Python 3.11 on x86-64 needs no exception." >&2
            locked ${folders[@]+"${folders[@]}"} && install ${folders[@]+"${folders[@]}"} ${backend[@]+"${backend[@]}"} torch==2.13.0 ;;
    esac
}

case "$kind" in
    cpu)
        # PyPI has CUDA builds only. They work without a GPU too, at ten times the download.
        cpu_build || {
            echo "torch's CPU build cannot be had here: taking PyPI's CUDA build, by hash (several GB)." >&2
            locked ${folders[@]+"${folders[@]}"} -r requirements/torch-cuda.lock
        } ;;
    cuda)
        locked ${folders[@]+"${folders[@]}"} -r requirements/torch-cuda.lock ;;
    *)
        echo "TORCH is cpu or cuda, not '$kind'." >&2
        exit 2 ;;
esac

install --no-deps --no-build-isolation --editable .
.venv/bin/uv pip check --python .venv/bin/python
