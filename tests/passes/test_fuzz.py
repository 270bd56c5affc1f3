"""Damaged symbols must give our error or a correct result, and never end the process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("fuzz_child.py")


@pytest.mark.parametrize(("kind", "count"), [("bytes", 200), ("graph", 200), ("values", 40)])
def test_damaged_symbols(kind: str, count: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(CHILD.parents[2])}
    done = subprocess.run([sys.executable, "-W", "ignore", CHILD, kind, "20", str(count)], env=environment,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stderr[-3000:]}"
    accepted, refused = map(int, re.findall(r"\d+", done.stdout.splitlines()[-1]))
    assert accepted + refused == count and accepted >= 10 and refused >= 10
