#!/usr/bin/env python
"""Every graph pass against plain MXNet; `make bench-passes` measures the same."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass.commands.bench.which import main

if __name__ == "__main__":
    sys.exit(main())
