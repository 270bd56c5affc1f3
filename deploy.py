#!/usr/bin/env python
"""Export a fine-tuned model, apply the graph passes and run it; see --help and docs/flags.md."""

import sys

from bertpass.commands.main import script

if __name__ == "__main__":
    sys.exit(script("deploy"))
