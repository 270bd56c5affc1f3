"""The published tables and figures, each beside what this machine measures: one entry, one file.

To add an entry, write a module in ``entries`` with an ``ENTRY`` (:class:`bertpass.bench.reproduce.session.Entry`), put
its published figures with their source into ``bertpass/bench/published.toml`` under its name, and add its line here.
"""

from __future__ import annotations

import importlib

from bertpass.bench.reproduce.session import Entry
from bertpass.errors import UsageError, unknown

_ENTRIES = {
    name: f"bertpass.bench.reproduce.entries.{name}"
    for name in ("latency", "cost", "operators", "passes", "gpu_passes", "scores", "tvm", "scaling", "onnxruntime",
                 "backends", "infinity", "packing")
}


def names() -> list[str]:
    """Of all entries, in the order of the publications."""
    return list(_ENTRIES)


def entry(name: str) -> Entry:
    """The entry of that name; UsageError with the nearest one for an unknown name."""
    if name not in _ENTRIES:
        raise UsageError(unknown("table", name, _ENTRIES))
    found: Entry = importlib.import_module(_ENTRIES[name]).ENTRY
    return found
