"""The published figures and where they are from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from bertpass.base.paths import PACKAGE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = PACKAGE / "bench" / "published.toml"


def read() -> dict[str, Any]:
    """The whole file: "sources", and a table for each entry."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def source(everything: Mapping[str, Any], name: str) -> Mapping[str, str]:
    """Title, publisher and conditions of what an entry is compared with."""
    found: Mapping[str, str] = everything["sources"][everything[name]["source"]]
    return found
