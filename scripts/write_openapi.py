#!/usr/bin/env python
"""Write docs/openapi.json from the server's routes; a test checks that it is up to date."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass.serving.http.app import document

if __name__ == "__main__":
    (Path(__file__).resolve().parent.parent / "docs" / "openapi.json").write_text(
        json.dumps(document(), indent=1) + "\n", encoding="utf-8")
