#!/usr/bin/env bash
# The CPU engine's tests under GCC's address and undefined-behaviour sanitizers, in a copy under build/. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
python="$PWD/.venv/bin/python"
copy=build/sanitized
checks=-fsanitize=address,undefined
mkdir -p "$copy"
rm -rf "$copy/bertpass" "$copy/tests"
cp -r bertpass tests setup.py pyproject.toml README.md LICENSE "$copy"
cd "$copy"
rm -f bertpass/*.so
CXXFLAGS="$checks -fno-sanitize-recover=undefined -g1 -O1" LDFLAGS="$checks" "$python" setup.py -q build_ext --inplace
preload=""
for library in asan ubsan stdc++; do
  preload="$preload $("${CXX:-g++}" -print-file-name="lib$library.so")"
done
# Python itself never gives back what it holds until it ends, so leaks are not looked for.
LD_PRELOAD="$preload" ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=. "$python" -m pytest -q tests/native/test_kernels.py \
  tests/native/test_bits.py tests/native/test_models.py tests/native/test_plan.py "$@"
