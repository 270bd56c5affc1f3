#!/usr/bin/env python
"""A program as several instances, each on cores of its own; the same as `bertpass launch`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass.commands.production.launch import main

if __name__ == "__main__":
    sys.exit(main())
