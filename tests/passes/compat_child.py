"""Runs inside another MXNet, by a path in PYTHONPATH: ``python compat_child.py LIBRARY PREFIX INPUTS.npz``.

Loads the library, runs every pass by Symbol.optimize_for and prints one JSON line: MXNet's version, the largest
difference of an output for each pass, leftovers of shape inference, and the errors that bad requests gave. Uses nothing
of bertpass: this MXNet may be older than it supports.
"""

from __future__ import annotations

import ctypes
import json
import sys

import numpy as np

for name, kind in {"bool": bool, "object": object, "int": int, "float": float, "complex": complex, "str": str}.items():
    if name not in np.__dict__:
        setattr(np, name, kind)

import mxnet as mx  # noqa: E402

LIBRARY, PREFIX, INPUTS = sys.argv[1:]
mx.library.load(LIBRARY)
last_report = ctypes.CDLL(LIBRARY).bertpass_last_report
last_report.restype = ctypes.c_char_p
feed = {name: mx.nd.array(value) for name, value in np.load(INPUTS).items()}
symbol, params, _ = mx.model.load_checkpoint(PREFIX, 0)


def run(graph, arrays):
    known = {**arrays, **feed}
    outputs = mx.nd.CachedOp(graph)(*(known[name] for name in graph.list_inputs()))
    return [output.asnumpy() for output in outputs]


def optimize(arrays, name, **options):
    """The rewritten symbol; new parameters go into ``arrays``. MXNet 1.7 wants values for the inputs too."""
    arrays.update(feed)
    mx.nd.waitall()
    return symbol.optimize_for(name, arrays, {}, ctx=mx.cpu(), **options)


def error_of(arrays, name, **options):
    try:
        optimize(arrays, name, **options)
    except mx.base.MXNetError as error:
        return str(error)
    return None


before = run(symbol, params)
result = {"version": mx.__version__, "library": mx.libinfo.find_lib_path()[0], "differences": {}, "rewrites": {},
          "leftovers": 0}
RUNS = {"remove_noops": {}, "interleave_qkv": {}, "bias_gelu": {}, "native_encoder": {},
        "native_encoder bfloat16": {"dtype": "bfloat16"}, "bertpass": {"device": "gpu"}}
for name, options in RUNS.items():
    arrays = dict(params)
    after = optimize(arrays, name.split()[0], **options)
    report = json.loads(last_report())["passes"]
    result["rewrites"][name] = [entry["rewrites"] for entry in report]
    result["differences"][name] = max(float(abs(a - b).max()) for a, b in zip(run(after, arrays), before))  # noqa: B905
    result["leftovers"] += after.tojson().count("__ext_")
    if name == "native_encoder":  # through files, hybridised
        prefix = PREFIX + "-deployed"
        after.save(prefix + "-symbol.json")
        kept = set(after.list_arguments())
        mx.nd.save(prefix + "-0000.params", {"arg:" + key: arrays[key] for key in kept - set(feed)})
        block = mx.gluon.SymbolBlock.imports(prefix + "-symbol.json", list(feed), prefix + "-0000.params")
        block.hybridize(static_alloc=True, static_shape=True)
        outputs = [[output.asnumpy() for output in block(*feed.values())] for _ in range(2)][1]
        result["differences"]["files"] = max(float(abs(a - b).max()) for a, b in zip(outputs, before))  # noqa: B905
with open("/proc/self/maps") as maps:
    result["gomp"] = len({line.split()[-1] for line in maps if "/libgomp.so" in line})
result["device"] = error_of(dict(params), "bertpass", device="tpu")
result["pass"] = error_of(dict(params), "bertpass", passes="bias_gleu")

document = json.loads(symbol.tojson())
for node in document["nodes"]:
    if node["op"] == "Embedding":
        node["attrs"]["dtype"] = "float64"
symbol = mx.sym.load_json(json.dumps(document))
feed = {name: value.astype("float64") for name, value in feed.items()}
double = {name: value.astype("float64") for name, value in params.items()}
result["float64"] = error_of(double, "interleave_qkv")
added = [value for name, value in double.items() if "_interleaved" in name]
result["float64 dtypes"] = sorted({np.dtype(value.dtype).name for value in added})
print(json.dumps(result))
