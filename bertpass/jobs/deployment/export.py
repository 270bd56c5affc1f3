"""A model as a file that another runtime runs alone: ONNX, OpenVINO's IR, TorchScript or a TVM module.

The file's ending says which. It is run in that runtime and compared with the native engine in float32 before it appears
under its name. How such a file is run without bertpass is shown in docs/export.md, in the same calls as here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bertpass.base.files import replacing_files
from bertpass.engines.base import Batch
from bertpass.engines.checking import check_batch
from bertpass.errors import MissingDependencyError, ModelError, UsageError
from bertpass.extras import require
from bertpass.model.record import Checkpoint

#: largest absolute difference of any output from the native engine's in float32, by the file's precision
BOUNDS = {"float32": 1e-4, "float16": 5e-2}


@dataclass(frozen=True)
class Shape:
    """What is chosen besides the format: of ONNX operators and precision, of a TVM module the one batch it takes."""

    fused: bool = False
    dtype: str = "float32"
    batch: int = 1
    length: int = 128


@dataclass(frozen=True)
class Exported:
    """What was written.

    ``what`` says it for people, with the operators of an ONNX graph in ``operators``; ``difference`` is the largest
    absolute one from the native engine's outputs, None where ``unchecked`` says why there is none.
    """

    files: list[Path]
    what: str
    difference: float | None
    unchecked: str = ""
    operators: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """``save`` writes a file, and those that belong to it, and says what they are; ``run`` gives its outputs."""

    name: str
    save: Callable[[Path, Checkpoint, Shape], tuple[list[Path], str, dict[str, int]]]
    run: Callable[[Path, Sequence[Batch]], list[list[np.ndarray]]]
    fixed: bool = False  # runs one shape only


def export(checkpoint: Checkpoint, output: str | os.PathLike[str], shape: Shape | None = None) -> Exported:
    """Write a checkpoint's network with its head to ``output``.

    Raises
    ------
    UsageError
        The ending says no format, or ``shape`` has something that the format does not take.
    MissingDependencyError
        A package is missing that the format needs; the text names its extra.
    ModelError
        The weights do not fit the network, the file cannot be written, or its outputs are wrong.
    """
    path, shape = Path(output), shape or Shape()
    form = format_of(path)
    if shape.fused and form is not FORMATS[".onnx"]:
        raise UsageError(f"{output}: --fused is for ONNX files, whose ending is .onnx.")
    if shape.dtype != "float32" and form is not FORMATS[".onnx"]:
        raise UsageError(f"{output}: --dtype {shape.dtype} is for ONNX files, whose ending is .onnx.")
    if form.fixed and shape.length > checkpoint.config.max_length:
        raise UsageError(f"--max_length {shape.length}: the model has {checkpoint.config.max_length} positions.")
    batches = [check_batch(checkpoint)]
    if form.fixed:
        batches = _fitted(batches[0], shape)
    try:
        with replacing_files(path.parent) as folder:
            files, what, operators = form.save(folder / path.name, checkpoint, shape)
            try:
                difference, unchecked = _difference(form.run(files[0], batches), checkpoint, batches), ""
            except MissingDependencyError as error:
                difference, unchecked = None, str(error)
            bound = BOUNDS[shape.dtype]
            if difference is not None and not difference <= bound:  # not: NaN
                raise ModelError(f"{output}: the file's outputs differ by {difference:.1e} from the native engine's, "
                                 f"more than {bound:g}; it was not kept.")
    except OSError as error:
        raise ModelError(f"cannot write {output}: {error.strerror or error}.") from error
    return Exported([path.parent / file.name for file in files], what, difference, unchecked, operators)


def format_of(path: Path) -> Format:
    """By the ending; UsageError for one that is none of ours."""
    if path.suffix not in FORMATS:
        raise UsageError(f"{path}: its ending says what to write: "
                         + ", ".join(f"{ending} ({form.name})" for ending, form in FORMATS.items()) + ".")
    return FORMATS[path.suffix]


def _fitted(batch: Batch, shape: Shape) -> list[Batch]:
    """All rows of a batch, cut or padded to a shape; the last ones may come twice."""
    keep = min(batch[0].shape[1], shape.length)
    room, made = ((0, 0), (0, shape.length - keep)), []
    for start in range(0, len(batch[0]), shape.batch):
        rows = np.arange(start, start + shape.batch) % len(batch[0])
        ids, types, lengths = (array[rows] for array in batch)
        made.append((np.pad(ids[:, :keep], room), np.pad(types[:, :keep], room), np.minimum(lengths, keep)))
    return made


def _difference(found: list[list[np.ndarray]], checkpoint: Checkpoint, batches: Sequence[Batch]) -> float:
    from bertpass.engines.native import NativeEngine

    engine, largest = NativeEngine(checkpoint, dtype="float32"), []
    for outputs, batch in zip(found, batches, strict=True):
        expected = engine.forward(*batch)
        if [one.shape for one in outputs] != [one.shape for one in expected]:
            raise ModelError(f"the file's outputs have the shapes {[one.shape for one in outputs]}, the network's "
                             f"{[one.shape for one in expected]}; it was not kept.")
        largest += [float(np.abs(one - other).max()) for one, other in zip(outputs, expected, strict=True)]
    return max(largest)


def _save_onnx(path: Path, checkpoint: Checkpoint, shape: Shape) -> tuple[list[Path], str, dict[str, int]]:
    from bertpass.model.onnx import graph

    model = graph.to_onnx(checkpoint, shape.fused)
    if shape.dtype == "float16":
        model = graph.to_float16(model)
    graph.write(path, model)
    what = f"ONNX, opset {graph.OPSET}{' and com.microsoft' if shape.fused else ''}, {shape.dtype}"
    return [path], what, graph.operators(model)


def _run_onnx(path: Path, batches: Sequence[Batch]) -> list[list[np.ndarray]]:
    runtime = require("onnxruntime", "onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return [list(session.run(None, _named(batch, names))) for batch in batches]


def _save_openvino(path: Path, checkpoint: Checkpoint, shape: Shape) -> tuple[list[Path], str, dict[str, int]]:
    from bertpass.engines.frameworks import openvino_engine

    return openvino_engine.save(path, checkpoint), "OpenVINO IR, float32", {}


def _run_openvino(path: Path, batches: Sequence[Batch]) -> list[list[np.ndarray]]:
    openvino = require("openvino", "openvino")
    model = openvino.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = [value.any_name for value in model.inputs]
    found = (model(_named(batch, names)) for batch in batches)
    return [[np.array(outputs[number]) for number in range(len(outputs))] for outputs in found]


def _save_torch(path: Path, checkpoint: Checkpoint, shape: Shape) -> tuple[list[Path], str, dict[str, int]]:
    from bertpass.engines.frameworks import torch_engine

    return torch_engine.save(path, checkpoint), "TorchScript, float32", {}


def _run_torch(path: Path, batches: Sequence[Batch]) -> list[list[np.ndarray]]:
    torch = require("torch", "torch")
    model = torch.jit.load(str(path))
    with torch.no_grad():
        return [[output.numpy() for output in model(*map(torch.from_numpy, batch))] for batch in batches]


def _save_tvm(path: Path, checkpoint: Checkpoint, shape: Shape) -> tuple[list[Path], str, dict[str, int]]:
    from bertpass.engines.tvm import engine as tvm_engine

    what = f"TVM module for this processor, batch {shape.batch}, sequence length {shape.length}, float32"
    return tvm_engine.save(path, checkpoint, shape.batch, shape.length), what, {}


def _run_tvm(path: Path, batches: Sequence[Batch]) -> list[list[np.ndarray]]:
    tvm = require("tvm", "tvm")
    main = tvm.relax.VirtualMachine(tvm.runtime.load_module(str(path)), tvm.cpu())["main"]
    return [[output.numpy() for output in main(*map(tvm.runtime.tensor, batch))] for batch in batches]


def _named(batch: Batch, names: list[str]) -> dict[str, np.ndarray]:
    values = dict(zip(("input_ids", "token_types", "valid_length"), batch, strict=True))
    return {name: values[name] for name in names}


#: ending -> format
FORMATS = {
    ".onnx": Format("ONNX", _save_onnx, _run_onnx),
    ".xml": Format("OpenVINO IR", _save_openvino, _run_openvino),
    ".pt": Format("TorchScript", _save_torch, _run_torch),
    ".so": Format("TVM", _save_tvm, _run_tvm, fixed=True),
}
