"""What a model on disk says about itself, read without its weights and without MXNet."""

from __future__ import annotations

import os
from pathlib import Path

from bertpass.model.bundle import BUNDLE_FILE, Bundle
from bertpass.model.folders import HUGGINGFACE_FILE, read_object

BUNDLE = "bundle"  # name of the folder beside net.params or a deployed pair


def bundle_of(path: str | os.PathLike[str]) -> Bundle | None:
    """The bundle at ``path`` or, for a file, beside it; None where there is none, ModelError where it is damaged."""
    folder = Path(path) if Path(path).is_dir() else Path(path).parent / BUNDLE
    return Bundle.open(folder) if (folder / BUNDLE_FILE).is_file() else None


def labels_of(path: str | os.PathLike[str]) -> list[str] | None:
    """The labels of the model at ``path``, a bundle, a file beside one or a Hugging Face folder; None where unknown."""
    bundle = bundle_of(path)
    if bundle is not None:
        return bundle.labels
    config = Path(path) / HUGGINGFACE_FILE
    table = read_object(config, "the model's configuration").get("id2label") if config.is_file() else None
    if not isinstance(table, dict) or set(table) != {str(i) for i in range(len(table))}:
        return None
    labels = [str(table[str(i)]) for i in range(len(table))]
    return None if labels == [f"LABEL_{i}" for i in range(len(table))] else labels
