"""Run passes over an exported model, in memory or from files to files."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bertpass import _core
from bertpass.base.files import replacing_files
from bertpass.errors import ModelError
from bertpass.model import parameters
from bertpass.model.files import params_file
from bertpass.passes import mkldnn
from bertpass.passes.report import PassReport, PassResult
from bertpass.passes.select import Passes, has_mxnet, select

if TYPE_CHECKING:
    from bertpass.passes.check import Checker

Path_ = str | os.PathLike[str]
Arrays = dict[str, np.ndarray]
Apply = Callable[[_core.Graph, Mapping[str, np.ndarray], str, Mapping[str, str]],
                 tuple[_core.Graph, Arrays, list[str], int]]

_log = logging.getLogger(__name__)


def _plain(params: Mapping[str, np.ndarray]) -> tuple[Arrays, dict[str, str]]:
    """Parameters by their plain names, and the prefix ("arg:", "aux:" or none) that each name had."""
    plain: Arrays = {}
    prefixes: dict[str, str] = {}
    for name, value in params.items():
        prefix = name[:4] if name.startswith(("arg:", "aux:")) else ""
        bare = name[len(prefix):]
        if bare in plain:
            raise ModelError(f"the parameter '{bare}' is given twice, as '{prefixes[bare]}{bare}' and as '{name}'.")
        plain[bare], prefixes[bare] = value, prefix
    return plain, prefixes


def _checker(graph: _core.Graph, params: Arrays, check: bool | Mapping[str, np.ndarray]) -> Checker | None:
    if not check and not has_mxnet():
        return None
    from bertpass.passes.check import Checker

    return Checker(graph.json(), params, check if isinstance(check, Mapping) else None, compute=bool(check))


def _core_apply(library: Path_ | None) -> Apply:
    if library is None:
        return _core.Graph.apply
    from bertpass.passes.library import Library

    return Library(library).apply


def optimize_graph(symbol: str, params: Mapping[str, np.ndarray], passes: Passes = "auto",
                   library: Path_ | None = None, device: str = "cpu", check: bool | Mapping[str, np.ndarray] = False,
                   dtype: str = "float32") -> tuple[str, Arrays, PassReport]:
    """Run passes over a symbol and its parameters; both come back rewritten, with a report.

    After every pass the graph is verified, and its shapes are inferred by MXNet where that is installed.

    Parameters
    ----------
    symbol : MXNet's JSON of the graph
    params : arrays of any dtype by name, as in a .params file (``arg:`` and ``aux:`` in front are kept) or plain
    passes : see :func:`~bertpass.passes.select`, or what it gave
    library : path of bertpass_lib.so to run this package's passes inside MXNet; the result is the same
    device : "cpu" or "gpu", the device that the model is to run on; it chooses what "auto" means
    check : True to run the graph before and after every pass in MXNet, on the CPU, on random token ids and ragged valid
        lengths, and report the largest difference; or a dict of inputs by name to run it on
    dtype : precision of the encoders that native_encoder puts in: "float32", "bfloat16" or "int8", or a plan of several
        (:mod:`bertpass.model.low_precision.plan`), on a GPU "float32", "float16" or "bfloat16", and "float32" means
        that of the parameters there; the parameters that the other passes see stay as they are

    Raises
    ------
    PassError, GraphError, ModelError
        An unknown pass, a library that is none, a symbol that is no graph, parameters that are missing or do not fit; a
        dtype other than float32 and no encoder that takes it.
    """
    chosen = select(passes, device, dtype)
    graph = _core.Graph(symbol)
    arrays, prefixes = _plain(params)
    graph.verify(arrays)
    half = device == "gpu" and dtype == "float32" and any(array.dtype == np.float16 for array in arrays.values())
    asked = {"device": device, "dtype": "" if dtype == "float32" else dtype}
    default_prefix = "arg:" if any(prefixes.values()) else ""
    core_apply = _core_apply(library)
    calibration = parameters.factors_of(arrays)
    checker = _checker(graph, arrays, check)
    error = 0.0 if checker and check else None
    results = []
    taken = False  # whether the encoder is gone, which is what most passes look for
    for info in chosen:
        apply: Apply = core_apply if info.provided_by == "core" else mkldnn.apply
        if info.reads_factors and calibration:
            apply = _core.Graph.apply  # MXNet hands a library only the parameters that the graph uses
        options = {name: value for name, value in asked.items() if name in info.options}
        started = time.perf_counter()
        after, added, removed, rewrites = apply(graph, arrays, info.name, options)
        seconds = time.perf_counter() - started
        for name in removed:
            arrays.pop(name, None)
        arrays.update(added)
        if after is not graph:
            # MXNet's own backend renames heads; their number and shapes are still compared.
            after.verify(arrays, before=graph if info.provided_by == "core" else None)
            error = checker.compare(after.json(), arrays, info.name) if checker else None
        if not rewrites and not taken:
            _log.warning("pass %s: nothing rewritten, the graph has no such place", info.name)
        graph, taken = after, taken or (info.takes_encoder and rewrites > 0)
        results.append(PassResult(info.name, rewrites, tuple(added), tuple(removed), seconds, error))
    for name in calibration:
        del arrays[name]
    report = PassReport(device, None if library is None else str(library), results,
                        "float16" if half else dtype)
    return graph.json(), {prefixes.get(name, default_prefix) + name: value for name, value in arrays.items()}, report


def optimize(prefix_in: Path_, prefix_out: Path_, passes: Passes = "auto", library: Path_ | None = None,
             device: str = "cpu", check: bool | Mapping[str, np.ndarray] = False, epoch: int = 0,
             dtype: str = "float32", replace: Mapping[str, np.ndarray] | None = None) -> PassReport:
    """Run passes over PREFIX-symbol.json and PREFIX-0000.params and write both under another prefix, or the same.

    The files appear together or not at all. ``epoch`` is the number in the name of the parameter file; ``replace`` has
    arrays by plain names that take the place of those in the file or are added to them; the others are those of
    :func:`optimize_graph`.

    Raises
    ------
    ModelError
        A file cannot be read or written. Otherwise as :func:`optimize_graph`.
    """
    symbol_in, params_in = _pair(prefix_in, epoch)
    try:
        symbol = symbol_in.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read the symbol file {symbol_in} ({error}); give the prefix of an exported "
                         "model.") from error
    arrays = params_file.read(params_in)
    for name, value in (replace or {}).items():
        prefixed = f"arg:{name}"
        arrays[prefixed if prefixed in arrays or name not in arrays else name] = value
    text, arrays, report = optimize_graph(symbol, arrays, passes, library, device, check, dtype)
    write_pair(prefix_out, text, arrays, epoch)
    return report


def _pair(prefix: Path_, epoch: int) -> tuple[Path, Path]:
    prefix = Path(os.path.expanduser(prefix))
    return (prefix.with_name(f"{prefix.name}-symbol.json"), prefix.with_name(f"{prefix.name}-{epoch:04d}.params"))


def write_pair(prefix: Path_, text: str, arrays: Mapping[str, np.ndarray], epoch: int = 0) -> None:
    """Write a symbol and its parameters under a prefix, together or not at all; ModelError where that cannot be."""
    symbol, params = _pair(prefix, epoch)
    try:
        with replacing_files(symbol.parent) as folder:
            (folder / symbol.name).write_text(text, encoding="utf-8")
            params_file.write(folder / params.name, arrays)
    except OSError as error:
        raise ModelError(f"cannot write {symbol} and {params.name} ({error.strerror or error}).") from error
