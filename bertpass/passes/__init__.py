"""Graph passes: rewrite an exported symbol and its parameters so that it runs faster and computes the same.

:func:`available` lists them, :func:`optimize` rewrites a pair of files, :func:`optimize_graph` a pair in memory. What
they write runs in plain MXNet without bertpass; after native_encoder MXNet has to load bertpass_lib.so first.
"""

from bertpass.passes.optimize import optimize, optimize_graph
from bertpass.passes.report import PassReport, PassResult
from bertpass.passes.select import PassInfo, available, select

__all__ = ["PassInfo", "PassReport", "PassResult", "available", "optimize", "optimize_graph", "select"]
