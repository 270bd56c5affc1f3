"""mkldnn: MXNet's own subgraph backend, which fuses operators into oneDNN's on the CPU.

The fused nodes (``_sg_mkldnn_*``, each with the operators that it stands for as a subgraph) survive writing and reading
in MXNet 1.9.1, so the saved files hold them. Such files run only where MXNet has oneDNN, on the CPU. The backend gives
some heads other names: outputs must be taken by position.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bertpass import _core
from bertpass.errors import DeviceError, PassError

_PREFIX = "_sg_mkldnn_"


def apply(graph: _core.Graph, params: Mapping[str, np.ndarray], name: str, options: Mapping[str, str]
          ) -> tuple[_core.Graph, dict[str, np.ndarray], list[str], int]:
    """As :meth:`bertpass._core.Graph.apply`, for the pass ``mkldnn``, without options; rewrites counts fused nodes.

    Raises
    ------
    DeviceError
        This MXNet is built without oneDNN.
    """
    from bertpass.mx import mx
    from bertpass.passes.library import arrays_of, message, symbol_of

    if not mx.runtime.Features().is_enabled("MKLDNN"):
        raise DeviceError(f"the pass '{name}' needs an MXNet with oneDNN and this one ({mx.__version__}) has none; "
                          "leave the pass out.")
    arguments = graph.arguments()
    arrays = arrays_of({key: value for key, value in params.items() if key in arguments})
    try:
        fused = symbol_of(graph.json()).optimize_for("MKLDNN", arrays, {}, ctx=mx.cpu(), skip_infer=True)
    except mx.base.MXNetError as error:
        raise PassError(f"MXNet's backend MKLDNN failed: {message(error)}") from error
    after = _core.Graph(fused.tojson())
    kept = after.arguments()
    return (after, {}, [argument for argument in arguments if argument not in kept],
            sum(count for op, count in after.op_counts().items() if op.startswith(_PREFIX)))
