#!/usr/bin/env bash
# Fills .venv from the lock files: install.sh PYTHON cpu|cuda
# PIP_FIND_LINKS (folders of wheels) and PIP_INDEX_URL (a mirror of PyPI) are honoured, as by pip.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 kind=$2

"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.lock

install() { .venv/bin/uv pip install --python .venv/bin/python --compile-bytecode "$@"; }
locked() { install --require-hashes -r requirements/base.lock "$@"; }
if [[ -n ${PIP_INDEX_URL:-} ]]; then export UV_DEFAULT_INDEX=$PIP_INDEX_URL; fi

tag=$(.venv/bin/python -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
has_wheel() { compgen -G "${1#file://}/torch-2.13.0*-$tag-*.whl" > /dev/null; }
folders=() wheel_at_hand=
for folder in ${PIP_FIND_LINKS:-}; do
    folders+=(--find-links "$folder")
    if has_wheel "$folder"; then wheel_at_hand=yes; fi
done

case "$kind $(uname -s)-$(uname -m)-$tag" in
    "cuda Linux-"*)
        locked "${folders[@]}" -r requirements/torch-cuda.lock ;;
    "cpu Darwin-arm64-"*)
        locked "${folders[@]}" -r requirements/torch-cpu.lock ;;
    "cpu Linux-x86_64-cp311")
        if [[ -z $wheel_at_hand ]]; then folders+=(--torch-backend cpu); fi
        locked "${folders[@]}" -r requirements/torch-cpu.lock ;;
    "cpu "*)
        echo "The hash of torch's CPU wheel for $tag on $(uname -sm) is not in requirements/torch-cpu.lock:" >&2
        echo "torch is installed by version only, everything else by hash. Python 3.11 needs no exception." >&2
        locked "${folders[@]}"
        if [[ -z $wheel_at_hand ]]; then folders+=(--torch-backend cpu); fi
        install "${folders[@]}" torch==2.13.0 ;;
    *)
        echo "TORCH=$kind is not offered on $(uname -s): TORCH is cpu, or cuda on Linux." >&2
        exit 2 ;;
esac

install --no-deps --no-build-isolation --editable .
.venv/bin/uv pip check --python .venv/bin/python
