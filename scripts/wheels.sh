#!/usr/bin/env bash
# make wheel: the source archive, and a wheel from it for each interpreter in PYTHONS, into dist/. TOOLS is the folder of
# an environment with zig, auditwheel and the build requirements. Each wheel is built from the archive, so that the
# archive is complete. GCC compiles the kernels, zig the rest with C and C++ libraries of its own: the wheels need no
# libstdc++, and no glibc newer than GLIBC. MACHINE=aarch64 builds for that processor, with the headers of this machine's
# interpreters: long has 64 bits on both.
set -euo pipefail
cd "$(dirname "$0")/.."
TOOLS="${TOOLS:-$PWD/.venv-wheel}"
PYTHONS="${PYTHONS:-$TOOLS/bin/python}"
GLIBC="${GLIBC:-2.28}"
MACHINE="${MACHINE:-$(uname -m)}"
GCC="${GCC:-g++}"
[ "$MACHINE" = "$(uname -m)" ] || GCC="$MACHINE-linux-gnu-g++"
export GCC ZIG="$TOOLS/bin/python -m ziglang c++ -target $MACHINE-linux-gnu.$GLIBC"
fail() { echo "error: $*" >&2; exit 1; }

package="g++$([ "$MACHINE" = "$(uname -m)" ] || echo "-$MACHINE-linux-gnu")"
command -v "$GCC" >/dev/null || fail "there is no $GCC; on Debian 12: apt-get install $package"
interpreters=()
for python in $PYTHONS; do
  found="$(command -v "$python")" || fail "there is no $python; name others in PYTHONS"
  python="$(cd "$(dirname "$found")" && pwd)/$(basename "$found")"
  interpreters+=("$python")
  "$python" -c 'import os, sys, sysconfig
sys.exit(sys.version_info < (3, 10) or not os.path.exists(sysconfig.get_paths()["include"] + "/Python.h"))' ||
    fail "$python is no Python 3.10 or later with its headers; name others in PYTHONS, or install python3-dev"
done
version="$("$TOOLS/bin/python" setup.py --version)"
tag="$(git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null || true)"
[ -z "$tag" ] || [ "$tag" = "v$version" ] ||
  fail "the tag of this commit is $tag and bertpass.__version__ is $version; change one of them"

policy="manylinux_${GLIBC/./_}_$MACHINE"
source="build/wheel/source-$MACHINE"
mkdir -p dist "$source"
rm -f "dist/bertpass-$version.tar.gz" "dist/bertpass-$version"*"_$MACHINE.whl"
"$TOOLS/bin/python" setup.py -q sdist --dist-dir dist
find "$source" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +  # objects of the last time stay
tar -xzf "dist/bertpass-$version.tar.gz" -C "$source" --strip-components 1
requirements="$("$TOOLS/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')"
for python in "${interpreters[@]}"; do
  rm -rf build/wheel/made "$source"/build/lib* "$source"/build/bdist* "$source"/bertpass/*.so
  suffix="$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')"
  (cd "$source" &&
    PYTHONPATH="$requirements" _PYTHON_HOST_PLATFORM="linux-$MACHINE" \
    SETUPTOOLS_EXT_SUFFIX="${suffix/$(uname -m)/$MACHINE}" CXXFLAGS="-Wno-unknown-warning-option" \
    CXX="$PWD/../../../scripts/wheel_compiler.sh" \
      "$python" setup.py -q bdist_wheel --dist-dir ../made)
  PATH="$TOOLS/bin:$PATH" "$TOOLS/bin/auditwheel" repair --plat "$policy" --wheel-dir dist build/wheel/made/*.whl
done
ls -l dist/bertpass-"$version"*
