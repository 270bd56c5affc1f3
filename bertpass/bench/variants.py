"""What can be measured: an engine with its settings. To add one, add its line.

Engines are named by their line of ``bertpass.engines.ENGINES``; nothing here imports them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bertpass.bench import environments
from bertpass.engines import native
from bertpass.errors import UsageError, unknown

#: relative L2 error of the token states against the float32 reference above which an engine counts as wrong
BOUNDS = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 5e-2, "int8": 3e-1}


@dataclass(frozen=True)
class Variant:
    """One engine with its settings.

    ``precision`` is its class, within which it is compared ("float32", "bfloat16", "int8"); ``options`` go to the
    engine's ``from_checkpoint``; ``calibrated`` ones get batches of real text as well; ``ours`` is false for a peer;
    ``slow_start`` marks what builds something for every shape; ``optional`` ones are left out of runs with a budget
    too; ``environment`` has variables of its process; ``checkout`` is the root of another built checkout of bertpass
    whose code its process runs, "" for this one.
    """

    name: str
    engine: str
    precision: str
    options: dict[str, Any] = field(default_factory=dict)
    ours: bool = False
    calibrated: bool = False
    slow_start: bool = False
    optional: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    checkout: str = ""

    @property
    def bound(self) -> float:
        """Of its precision, see :data:`BOUNDS`."""
        return BOUNDS[self.precision]


def known() -> list[Variant]:
    """All of them, ours first."""
    ours = [Variant(f"native-{dtype}", "native", dtype, {"dtype": dtype}, ours=True) for dtype in native.DTYPES
            if dtype != "auto"]
    return [
        *ours,
        *(Variant(f"mxnet-encoder-{v.precision}", "mxnet", v.precision,
                  {"passes": "native_encoder", "dtype": v.precision}, ours=True) for v in ours),
        Variant("openvino-float32", "openvino", "float32", {"dtype": "float32"}),
        Variant("openvino-bfloat16", "openvino", "bfloat16", {"dtype": "bfloat16"}),
        Variant("openvino-int8", "openvino", "int8", {"dtype": "int8"}, calibrated=True),
        Variant("onnxruntime-float32", "onnxruntime", "float32", {"dtype": "float32"}),
        Variant("onnxruntime-unfused", "onnxruntime", "float32", {"fusions": False}),
        Variant("onnxruntime-float16", "onnxruntime", "float16", {"dtype": "float16"}, optional=True),
        Variant("onnxruntime-int8", "onnxruntime", "int8", {"dtype": "int8"}),
        Variant("torch-float32", "torch", "float32", {"dtype": "float32"}),
        Variant("torch-bfloat16", "torch", "bfloat16", {"dtype": "bfloat16"}),
        Variant("torch-script-float32", "torch", "float32", {"dtype": "float32", "mode": "script"}),
        Variant("torch-script-bfloat16", "torch", "bfloat16", {"dtype": "bfloat16", "mode": "script"}),
        Variant("torch-compile-float32", "torch", "float32", {"dtype": "float32", "mode": "compile"}, slow_start=True),
        Variant("torch-compile-bfloat16", "torch", "bfloat16", {"dtype": "bfloat16", "mode": "compile"},
                slow_start=True),
        Variant("tensorflow-float32", "tensorflow", "float32", {"dtype": "float32"}),
        Variant("tensorflow-xla-float32", "tensorflow", "float32", {"dtype": "float32", "mode": "xla"},
                slow_start=True),
        Variant("tvm-float32", "tvm", "float32", {"dtype": "float32"}),
        Variant("mxnet-plain", "mxnet", "float32", {"passes": "none"}),
        Variant("mxnet-fusions", "mxnet", "float32", {"passes": "mkldnn"}),
    ]


def usual(budget: bool) -> list[Variant]:
    """What runs where nobody chooses: all but what has no environment and, with a ``budget`` of time, what compiles
    something for every shape or is optional."""
    return [v for v in known() if environments.provided(v.engine) and not (budget and (v.slow_start or v.optional))]


def beside(variants: Sequence[Variant], folder: str) -> list[Variant]:
    """The same, and after each one of our own CPU engine that engine of another checkout, "NAME@FOLDER'S NAME".

    Raises
    ------
    UsageError
        The folder holds no built checkout.
    """
    root = Path(folder).resolve()
    if not any((root / "bertpass").glob("_native*.so")):
        raise UsageError(f"--beside {folder}: this is no built checkout of bertpass; run `make build` there first.")
    return [one for v in variants for one in
            ([v, replace(v, name=f"{v.name}@{root.name}", checkout=str(root))] if v.engine == "native" else [v])]


#: its outputs are what the others' are compared with
REFERENCE = "mxnet-plain"


def chosen(words: Sequence[str]) -> list[Variant]:
    """The variants that the words name, each the name of a variant or of an engine ("openvino" for all three).

    Raises
    ------
    UsageError
        A word names nothing.
    """
    everything = known()
    found: list[Variant] = []
    for word in words:
        named = [v for v in everything if word in (v.name, v.engine)]
        if not named:
            raise UsageError("--engines: " + unknown("engine", word, [*dict.fromkeys(v.engine for v in everything),
                                                                      *(v.name for v in everything)]))
        found += [v for v in named if v not in found]
    return [v for v in everything if v in found]
