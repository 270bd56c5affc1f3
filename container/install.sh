#!/bin/sh
# Install the server from the folder $1 of container/wheels.sh, without any network.
set -eu
python -m pip install --no-cache-dir --disable-pip-version-check -q --no-index --find-links "$1" "bertpass[serve,minilm]"
