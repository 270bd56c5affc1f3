"""``python -m bertpass.bench cpu``: every engine in one run; ``passes``, ``finetuning``, ``scaling``, ``routing``."""

import sys

from bertpass.commands.bench.which import main

if __name__ == "__main__":
    sys.exit(main())
