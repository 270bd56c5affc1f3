"""Where this package lies, and where it keeps what it downloads and measures."""

from __future__ import annotations

import os
from pathlib import Path

from bertpass.base.variables import value

#: the folder of the package, and the one that it lies in: a checkout, or site-packages
PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parent
#: the graph passes and the encoder's operator, as a library for MXNet
LIBRARY = PACKAGE / "bertpass_lib.so"


def cache_folder() -> Path:
    """$BERTPASS_CACHE, else bertpass/ in $XDG_CACHE_HOME or ~/.cache."""
    return Path(value("BERTPASS_CACHE") or Path(value("XDG_CACHE_HOME") or Path.home() / ".cache") / "bertpass")


def cuda_engine() -> Path:
    """Where the CUDA engine is, or would be once it is built: ``BERTPASS_CUDA``, else the package's own library."""
    return Path(value("BERTPASS_CUDA") or PACKAGE / "libbertpass_cuda.so")


def python_path(root: str | os.PathLike[str] = ROOT) -> str:
    """PYTHONPATH for a child process that is to import this very package, wherever the person stands."""
    return os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
