"""What a model on disk says about itself, read without its weights and without MXNet."""

from __future__ import annotations

import os
from pathlib import Path

from bertpass.model.files.folders import HUGGINGFACE_FILE, read_object
from bertpass.model.layouts.bundle import BESIDE as BUNDLE
from bertpass.model.layouts.bundle import bundle_of

__all__ = ["BUNDLE", "bundle_of", "labels_of"]


def labels_of(path: str | os.PathLike[str]) -> list[str] | None:
    """The labels of the model at ``path``, a bundle, a file beside one or a Hugging Face folder; None where unknown."""
    bundle = bundle_of(path)
    if bundle is not None:
        return bundle.labels
    folder = Path(path) if Path(path).is_dir() else Path(path).parent / BUNDLE
    config = folder / HUGGINGFACE_FILE
    table = read_object(config, "the model's configuration").get("id2label") if config.is_file() else None
    if not isinstance(table, dict) or set(table) != {str(i) for i in range(len(table))}:
        return None
    labels = [str(table[str(i)]) for i in range(len(table))]
    return None if labels == [f"LABEL_{i}" for i in range(len(table))] else labels
