#!/usr/bin/env python
"""Fine-tune BERT for question answering (SQuAD 1.1 or 2.0); see --help and docs/flags.md."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass.commands.main import script

if __name__ == "__main__":
    sys.exit(script("finetune squad"))
