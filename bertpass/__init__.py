"""bertpass: put BERT-type encoders into production.

``bertpass.load("minilm").encode(["a text"])`` gives sentence vectors; docs/architecture.md names the parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from bertpass.engines.model import Model


def load(path_or_name: str, engine: str = "mxnet", **options: Any) -> Model:
    """Load a model and the engine that computes it; see :func:`bertpass.engines.load`."""
    from bertpass import engines  # loaded on use: ``import bertpass`` stays light

    return engines.load(path_or_name, engine, **options)
