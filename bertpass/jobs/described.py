"""What a model on disk says about itself, read without its weights and without MXNet."""

from __future__ import annotations

import os
from pathlib import Path

from bertpass.model.bundle import BUNDLE_FILE, Bundle

BUNDLE = "bundle"  # name of the folder beside net.params or a deployed pair


def bundle_of(path: str | os.PathLike[str]) -> Bundle | None:
    """The bundle at ``path`` or, for a file, beside it; None where there is none, ModelError where it is damaged."""
    folder = Path(path) if Path(path).is_dir() else Path(path).parent / BUNDLE
    return Bundle.open(folder) if (folder / BUNDLE_FILE).is_file() else None
