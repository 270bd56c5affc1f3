"""Runs inside any MXNet, by a path in PYTHONPATH: ``python plain_child.py LIBRARY PREFIX INPUTS.npz``.

Applies passes by every entry of plain MXNet as a program would, at once after the parameters were read or written, and
prints one JSON line: by entry the largest difference from the outputs without passes, or the error. Uses nothing of
bertpass.
"""

from __future__ import annotations

import json
import sys

import numpy as np

for name, kind in {"bool": bool, "object": object, "int": int, "float": float, "complex": complex, "str": str}.items():
    if name not in np.__dict__:
        setattr(np, name, kind)

import mxnet as mx  # noqa: E402

LIBRARY, PREFIX, INPUTS = sys.argv[1:4]
WITHOUT_PYTHON = "--without-python" in sys.argv  # as a host in C++, whose Symbol.optimize_for nobody could wrap
if WITHOUT_PYTHON:
    hidden = sys.modules.pop("mxnet.symbol.symbol")
mx.library.load(LIBRARY)
if WITHOUT_PYTHON:
    sys.modules["mxnet.symbol.symbol"] = hidden
feed = {name: mx.nd.array(value) for name, value in np.load(INPUTS).items()}


def keep_busy():
    """Gives MXNet's one thread for the CPU work that takes a while, so that what is asked for next is not there yet."""
    square = mx.nd.ones((1500, 1500))
    for _ in range(3):
        square = mx.nd.dot(square, square) * 0 + 1
    return (square[0, 0] - 1).reshape((1,))


def imports(prefix=PREFIX):
    keep_busy()
    return mx.gluon.SymbolBlock.imports(f"{prefix}-symbol.json", list(feed), f"{prefix}-0000.params")


def outputs(block):
    found = block(*feed.values())
    return [output.asnumpy() for output in (found if isinstance(found, (list, tuple)) else [found])]


def outputs_of(symbol, arrays):
    known = {**arrays, **feed}
    return [output.asnumpy() for output in mx.nd.CachedOp(symbol)(*(known[name] for name in symbol.list_inputs()))]


def optimize_for(name):
    block = imports()
    block.optimize_for(*feed.values(), backend=name)
    return outputs(block)


def hybridize(name):
    block = imports()
    block.hybridize(backend=name, static_alloc=True)
    return outputs(block)


def export(name):
    block = imports()
    block.optimize_for(*feed.values(), backend=name)
    block.export(PREFIX + "-written")
    return outputs(imports(PREFIX + "-written"))


def symbol_entry(name):
    symbol, arrays, _ = mx.model.load_checkpoint(PREFIX, 0)
    keep_busy()
    arrays = {key: value.copy() for key, value in arrays.items()}
    arrays.update(feed)
    return outputs_of(symbol.optimize_for(name, arrays, {}, ctx=mx.cpu()), arrays)


def alone(name):
    """The graph without its parameters."""
    symbol, arrays, _ = mx.model.load_checkpoint(PREFIX, 0)
    return outputs_of(symbol.optimize_for(name), arrays)


def pending(name):
    """The parameters have memory, with other values in it, until an operation that takes a while is over."""
    symbol, given, _ = mx.model.load_checkpoint(PREFIX, 0)
    arrays = {key: mx.nd.full(value.shape, 7.0) for key, value in given.items()}
    mx.nd.waitall()
    nothing = keep_busy()
    for key, value in given.items():
        mx.nd.broadcast_add(value.reshape((-1,)), nothing, out=arrays[key].reshape((-1,)))
    arrays.update(feed)
    return outputs_of(symbol.optimize_for(name, arrays, {}, ctx=mx.cpu()), arrays)


def in_python_operator(name):
    """Inside an operator written in Python, where MXNet's waitall would wait for the operator itself."""
    found = []

    class Operator(mx.operator.CustomOp):
        def forward(self, is_train, req, in_data, out_data, aux):
            found.append(symbol_entry(name))
            self.assign(out_data[0], req[0], in_data[0])

    @mx.operator.register("applies_a_pass")
    class Properties(mx.operator.CustomOpProp):
        def create_operator(self, ctx, shapes, dtypes):
            return Operator()

    mx.nd.Custom(mx.nd.ones((1,)), op_type="applies_a_pass").wait_to_read()
    return found[0]


ENTRIES = {entry.__name__: entry for entry in (optimize_for, hybridize, export, symbol_entry, alone, pending,
                                               in_python_operator)}
reference = outputs(imports())
result = {"version": mx.__version__}
for asked in sys.argv[4:]:
    if asked.startswith("--"):
        continue
    entry, name = asked.split(":")
    try:
        got = ENTRIES[entry](name)
    except mx.base.MXNetError as error:
        result[asked] = str(error)
        continue
    # NaN is a difference of infinity
    result[asked] = max(float(np.nan_to_num(abs(a - b), nan=np.inf).max()) for a, b in zip(got, reference))  # noqa: B905
print(json.dumps(result))
