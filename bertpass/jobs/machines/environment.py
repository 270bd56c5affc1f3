"""What this machine and this installation have, without importing a framework."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import Any

from bertpass import __version__, machine
from bertpass.base.paths import LIBRARY
from bertpass.errors import DeviceError


@dataclass(frozen=True)
class Package:
    """A package that bertpass can use: any of ``names``, for what, and the command that installs it."""

    names: tuple[str, ...]
    purpose: str
    command: str


PACKAGES = (
    Package(("numpy",), "everything", "pip install 'numpy>=1.23.5'"),
    Package(("tokenizers",), "texts", "pip install 'tokenizers>=0.20,<0.24'"),
    Package(("mxnet", "mxnet-cu102", "mxnet-cu112", "mxnet-cu117"), "deploy, passes, the mxnet engine, training",
            "pip install '.[mxnet]'"),
    Package(("gluonnlp",), "fine-tuning and export through MXNet", "pip install '.[mxnet]'"),
    Package(("scipy",), "metrics of regression tasks", "pip install '.[metrics]'"),
    Package(("scikit-learn",), "metrics of classification tasks", "pip install '.[metrics]'"),
    Package(("seqeval",), "metrics of named entities", "pip install '.[ner]'"),
    Package(("rich",), "progress bars and tables", "pip install 'rich>=13'"),
    Package(("huggingface_hub",), "downloads from the Hugging Face hub", "pip install 'huggingface_hub>=0.24'"),
    Package(("onnxruntime",), "the onnxruntime engine, for comparison", "pip install '.[onnxruntime]'"),
    Package(("openvino",), "the openvino engine, for comparison", "pip install '.[openvino]'"),
    Package(("apache-tvm",), "the tvm engine, for comparison", "pip install '.[tvm]'"),
    Package(("torch",), "PyTorch pickles, the torch engine, training", "pip install '.[train]'"),
    Package(("transformers",), "comparison", "pip install '.[reference]'"),
)
NATIVE_FILES = {"bertpass._core": "graph passes in Python", "bertpass._native": "the native engine"}
BUILD = "python setup.py build_ext --inplace"


def describe() -> dict[str, Any]:
    """The machine, the native engine's choice, packages and native files with what is missing, and the passes.

    ``packages`` has for each one ``version`` (None where it is missing), ``purpose`` and ``install``, the command;
    ``missing`` lists names and commands once more.
    """
    packages = {}
    for package in PACKAGES:
        found = {name: machine.version(name) for name in package.names}
        for name in [name for name in found if found[name]] or package.names[:1]:
            packages[name] = {"version": found[name], "purpose": package.purpose, "install": package.command}
    built = {name: _built(name) for name in NATIVE_FILES}
    built["bertpass_lib.so"] = LIBRARY.is_file()
    missing = [{"name": name, "install": about["install"]} for name, about in packages.items() if not about["version"]]
    missing += [{"name": name, "install": BUILD} for name, there in built.items() if not there]
    return {"bertpass": __version__, "machine": machine.describe(), "threads": machine.threads(),
            "threads_from": "OMP_NUM_THREADS" if os.environ.get("OMP_NUM_THREADS") else "affinity and quota",
            "native": _native() if built["bertpass._native"] else None, "packages": packages, "built": built,
            "passes": _passes() if built["bertpass._core"] else {}, "missing": missing}


def _built(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def _native() -> dict[str, Any]:
    """Instruction sets that the engine's kernels can use here, the one that is taken and why, and the precisions."""
    from bertpass import _native
    from bertpass.engines import precision

    forced = os.environ.get("BERTPASS_ISA")
    try:
        chosen: str | None = _native.selected()
        why = f"BERTPASS_ISA={forced}" if forced else "the fastest that this processor has"
    except DeviceError as error:
        chosen, why = None, str(error)
    return {"instruction_sets": _native.instruction_sets(), "chosen": chosen, "why": why,
            "precisions": precision.explain(chosen) if chosen else {}}


def _passes() -> dict[str, Any]:
    from bertpass.passes import available
    return {p.name: {"devices": list(p.devices), "documentation": p.documentation} for p in available()}
