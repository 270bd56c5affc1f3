#!/usr/bin/env python
"""Write docs/keys.md from bertpass/known_keys; a test checks that it is up to date."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass.commands.keys_page import page

if __name__ == "__main__":
    (Path(__file__).resolve().parent.parent / "docs" / "keys.md").write_text(page(), encoding="utf-8")
