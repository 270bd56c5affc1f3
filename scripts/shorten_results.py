#!/usr/bin/env python3
"""``python scripts/shorten_results.py FILE...``: result files as docs/results/ keeps them, a line per figure.

Left out of files of ``bench cpu`` is what follows from the rest (``ratios``), describes it once more (``about``,
``encoder``), or is no figure of the pages (99th percentiles, processors kept busy).
"""

import json
import sys
from pathlib import Path
from typing import Any

WIDTH = 180


def shortened(content: Any) -> Any:
    """A file's content without what is left out."""
    for model in content.get("models", []) if isinstance(content, dict) else []:
        model.pop("encoder", None)
        for engine in model["engines"]:
            for key in ("about", "ratios"):
                engine.pop(key, None)
            for timing in engine["timings"].values():
                for key in ("p99_ms", "processors_busy"):
                    timing.pop(key, None)
    return content


def text(value: Any, indent: int = 0, before: int = 0) -> str:
    """JSON whose arrays and objects stand on one line where they fit; ``before`` is the length of the key."""
    whole = json.dumps(value, ensure_ascii=False)
    if not value or not isinstance(value, dict | list) or indent + before + len(whole) < WIDTH:
        return whole
    names = [f"{json.dumps(key)}: " for key in value] if isinstance(value, dict) else [""] * len(value)
    inner = [name + text(one, indent + 1, len(name) + 1)
             for name, one in zip(names, value.values() if isinstance(value, dict) else value, strict=True)]
    lines = [inner[0]]
    for one in inner[1:]:  # short ones share a line
        if "\n" not in one + lines[-1] and indent + 3 + len(lines[-1]) + len(one) < WIDTH and ": {" not in one:
            lines[-1] += f", {one}"
        else:
            lines.append(one)
    pad = "\n" + " " * (indent + 1)
    begin, end = "{}" if isinstance(value, dict) else "[]"
    return begin + pad + f",{pad}".join(lines) + "\n" + " " * indent + end


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        file.write_text(text(shortened(json.loads(file.read_text("utf-8")))) + "\n", encoding="utf-8")
