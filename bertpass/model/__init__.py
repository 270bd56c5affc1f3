"""Level 3: architecture, checkpoints, bundles and networks. Importing this package does not load MXNet."""

import importlib
from types import ModuleType

_FORMATS = ("gluonnlp", "huggingface")  # the modules that a person's own program reads and writes models with


def __getattr__(name: str) -> ModuleType:
    """The modules of formats on first use: ``from bertpass.model import gluonnlp, huggingface``."""
    if name not in _FORMATS:
        raise AttributeError(f"module 'bertpass.model' has no attribute '{name}'")
    return importlib.import_module(f"bertpass.model.layouts.{name}")
