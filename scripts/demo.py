#!/usr/bin/env python
"""The main job on real weights and real text; `make demo` runs it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass.commands.here.demo import main

if __name__ == "__main__":
    sys.exit(main())
