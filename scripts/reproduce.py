#!/usr/bin/env python
"""Published tables and figures beside what this machine measures; --list shows them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass.commands.measure.reproduce import main

if __name__ == "__main__":
    sys.exit(main())
