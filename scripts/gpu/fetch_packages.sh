#!/bin/bash
# Fetches what training needs beside PyTorch, OpenCV, SciPy, safetensors and tensorboard, for a Linux machine
# without a package registry: fetch_packages.sh TARGET.tar.xz [PYTHON_VERSION]. Unpack it there with
# `python3 -m tarfile -e TARGET.tar.xz FOLDER` and put FOLDER into PYTHONPATH.
set -euo pipefail
target=$(realpath -m "${1:?give the archive to write}")
version=${2:-3.12}
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
platforms=()
for number in 2_28 2_27 2_17; do platforms+=(--platform "manylinux_${number}_x86_64"); done
python3 -m pip download --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
    "${platforms[@]}" --platform manylinux2014_x86_64 -c constraints.txt -d "$work" av lmdb
# basicsr is pure Python, but its build imports torch: run this in the environment that trains here
python3 -m pip wheel --no-build-isolation --no-deps -w "$work" "$(grep '^basicsr' requirements-nodeps.txt)"
mkdir "$work/site"
for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$work/site"; done
mkdir -p "$(dirname "$target")"
tar -C "$work/site" -cJf "$target" .
du -h "$target"
