#!/bin/sh
# Says in one sentence what is missing before anything is installed. Usage: check_machine.sh PYTHON
python="$1"
fail() { echo "error: $*" >&2; exit 1; }
[ -n "$python" ] || fail "no python3 found; on Debian 12: apt-get install python3 python3-venv python3-dev g++ make"
"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' ||
  fail "make installs MXNet too, which needs Python 3.10 to 3.12 (3.11 is tested), and $python is $("$python" -V 2>&1); give another with make PYTHON=..., or install without MXNet: pip install ."
"$python" -c 'import venv, ensurepip' 2>/dev/null || fail "Python's venv module is missing; on Debian 12: apt-get install python3-venv"
"$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' ||
  fail "Python's headers are missing; on Debian 12: apt-get install python3-dev"
command -v "${CXX:-g++}" >/dev/null || fail "no C++ compiler; on Debian 12: apt-get install g++"
case "$(uname -sm)" in
  "Linux x86_64") ;;
  *) fail "MXNet 1.9.1 has binary packages for Linux on x86-64 only; this is $(uname -sm)" ;;
esac
