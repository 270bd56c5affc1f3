#!/usr/bin/env python
"""A model as MXNet's symbol and parameters, as the published export.py; see --help and docs/recipe.md."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass.commands.make.published import export

if __name__ == "__main__":
    sys.exit(export())
