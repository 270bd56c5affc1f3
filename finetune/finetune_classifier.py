#!/usr/bin/env python
"""Fine-tune BERT on a classification or regression task; see --help and docs/flags.md."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass.commands.main import script

if __name__ == "__main__":
    sys.exit(script("finetune classifier"))
