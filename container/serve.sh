#!/bin/sh
# Serve the models of the words, of BERTPASS_SERVE_MODELS or of the file that BERTPASS_SERVE_CONFIG names, else MiniLM.
set -eu
if [ $# -eq 0 ] && [ -z "${BERTPASS_SERVE_MODELS:-}" ] && [ -z "${BERTPASS_SERVE_CONFIG:-}" ]; then
    set -- minilm
fi
exec bertpass serve "$@"
