#!/usr/bin/env python
"""A vector for each word of texts, as the published embedding.py; see --help and docs/recipe.md."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass.commands.make.published import embedding

if __name__ == "__main__":
    sys.exit(embedding())
