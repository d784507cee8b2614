#!/bin/sh
# Installs the project of this folder in an image: `containers/install.sh cuda`, or `containers/install.sh cpu WHEELS`.
# `cuda` also runs without a GPU, but is some gigabytes larger. Wheels of torch for the CPU alone are not in the usual
# index: WHEELS is the address of the index that has them (torch's own page, "Get started", names it).
set -eu
device=${1:?cuda or cpu} wheels=${2:-}
cd "$(dirname "$0")/.."
install() { python -m pip install --no-cache-dir --disable-pip-version-check "$@"; }
case $device in
cuda)
    install --constraint constraints.txt --editable .
    ;;
cpu)
    test -n "$wheels" || { echo "cpu needs the address of an index of torch's wheels for the CPU" >&2; exit 2; }
    pins=$(mktemp)
    grep -vE '^(nvidia-|cuda-|triton)' constraints.txt >"$pins"
    install --index-url "$wheels" --constraint "$pins" torch torchvision
    install --constraint "$pins" --editable .
    ;;
*)
    echo "the device must be cuda or cpu, got $device" >&2
    exit 2
    ;;
esac
