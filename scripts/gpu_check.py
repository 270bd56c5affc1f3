#!/usr/bin/env python
"""Build, check and measure the CUDA engine on this machine's GPU; one table at the end, all figures in a JSON file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass.commands.bench.gpu import main

if __name__ == "__main__":
    sys.exit(main())
