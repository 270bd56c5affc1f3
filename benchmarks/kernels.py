#!/usr/bin/env python
"""The kernel laboratory: every kernel of the CPU engine against its reference, then against the machine's ceilings.

The ceilings come first: multiplications and additions in registers for each instruction set and number type, and reads
from each level of memory. Then each kernel runs at the shapes of the models: its largest difference from NumPy, its
time, and GFLOP/s (or GB/s) with the share of the ceiling. `make bench-kernels` runs it; --help lists the flags.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass.commands.bench.kernels import main

if __name__ == "__main__":
    sys.exit(main())
