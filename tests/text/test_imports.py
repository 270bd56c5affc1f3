"""The text level stands on its own: no framework, and nothing of the levels above it."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import bertpass.text


def test_no_framework_is_imported() -> None:
    modules = [m.name for m in pkgutil.walk_packages(bertpass.text.__path__, "bertpass.text.")]
    assert "bertpass.text.tokens.tokenizer" in modules
    code = (f"import sys, {', '.join(modules)}\n"
            "heavy = {'mxnet', 'gluonnlp', 'torch', 'transformers', 'sklearn'} & set(sys.modules)\n"
            "levels = ('bertpass.model', 'bertpass.engines', 'bertpass.jobs')\n"
            "above = {m for m in sys.modules if m.startswith(levels)}\n"
            "sys.exit(f'{heavy} {above}' if heavy or above else 0)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
