"""Run the passes of the compiled library inside MXNet, by Symbol.optimize_for."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bertpass import _core
from bertpass.base.paths import LIBRARY
from bertpass.errors import PassError
from bertpass.mx import load_library, message, mx, version


def load_operator(text: str) -> None:
    """Have MXNet know the operator of the pass native_encoder where a graph has it; PassError where that cannot be.

    A library that was loaded before serves; otherwise the package's own is loaded.
    """
    if _core.ENCODER_OPERATOR not in text or hasattr(mx.sym, _core.ENCODER_OPERATOR):
        return
    if not LIBRARY.is_file():
        raise PassError(
            f"the graph holds the operator {_core.ENCODER_OPERATOR}, which bertpass_lib.so computes, and there is no "
            f"{LIBRARY}; build it with python setup.py build_ext --inplace, name one with --custom_pass, or run the "
            "plain model (the folder bundle beside a deployed pair), which needs no library.")
    load_library(LIBRARY)


def symbol_of(text: str) -> mx.sym.Symbol:
    """MXNet's symbol of a text that has been verified; PassError if it holds an operator that MXNet does not know."""
    load_operator(text)
    try:
        return mx.sym.load_json(text)
    except mx.base.MXNetError as error:
        raise PassError(f"MXNet {mx.__version__} does not take the graph: {message(error)}") from error


def arrays_of(params: Mapping[str, np.ndarray]) -> dict[str, mx.nd.NDArray]:
    """Parameters in MXNet's CPU memory, all of them there: MXNet 1.9 hands arrays that are still being copied to a
    pass as they are."""
    arrays = {name: mx.nd.array(value, ctx=mx.cpu(), dtype=value.dtype) for name, value in params.items()}
    mx.nd.waitall()
    return arrays


class Library:
    """The pass library at ``path``, loaded into MXNet.

    Raises
    ------
    PassError
        There is no file, it is no library, no MXNet extension library or not bertpass's, or MXNet is older than 1.8,
        which cannot run a pass without values for the inputs.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(os.path.expanduser(path)).resolve()
        load_library(self.path)
        try:
            self._last_report = ctypes.CDLL(str(self.path)).bertpass_last_report
        except AttributeError as error:
            raise PassError(
                f"{path} is an MXNet extension library but not bertpass's; give bertpass_lib.so.") from error
        self._last_report.restype = ctypes.c_char_p
        if version() < (1, 8, 0):
            raise PassError(f"MXNet {mx.__version__} cannot run passes on files; leave library out, the result is the "
                            "same.")

    def apply(self, graph: _core.Graph, params: Mapping[str, np.ndarray], name: str, options: Mapping[str, str]
              ) -> tuple[_core.Graph, dict[str, np.ndarray], list[str], int]:
        """As :meth:`bertpass._core.Graph.apply`, through MXNet, which takes and gives texts."""
        arrays = arrays_of(params)
        try:
            symbol = symbol_of(graph.json()).optimize_for(name, arrays, {}, ctx=mx.cpu(), skip_infer=True,
                                                          **options)
        except mx.base.MXNetError as error:
            raise PassError(message(error)) from error
        ran = json.loads(self._last_report())["passes"]
        if [result["name"] for result in ran] != [name]:
            raise PassError(f"{self.path} has no pass '{name}'; build it again: python setup.py build_ext --inplace.")
        added = {new: arrays[new].asnumpy() for new in ran[0]["added"]}
        return _core.Graph(symbol.tojson()), added, ran[0]["removed"], ran[0]["rewrites"]
