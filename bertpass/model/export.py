"""From a checkpoint to a bundle: the graph comes from MXNet, the files from NumPy."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from bertpass.errors import UsageError
from bertpass.model import nets, parameters
from bertpass.model.layouts.bundle import Bundle
from bertpass.model.record import Checkpoint

DTYPES = ("float32", "float16")


def network(checkpoint: Checkpoint, dtype: str = "float32", ctx: Any = None) -> nets.Network:
    """The checkpoint's network for inference, with its weights and without dropout."""
    if dtype not in DTYPES:
        raise UsageError(f"dtype must be one of {', '.join(DTYPES)}, not '{dtype}'.")
    net = nets.build(dataclasses.replace(checkpoint.config, dropout=0.0), checkpoint.head)
    net.cast(dtype)
    nets.set_parameters(net, checkpoint.params, ctx=ctx)
    return net


def graph_of(checkpoint: Checkpoint, dtype: str = "float32") -> tuple[str, dict[str, np.ndarray]]:
    """The plain graph of the checkpoint's network (JSON text) and its parameters by ``arg:NAME``, nothing written."""
    if dtype not in DTYPES:
        raise UsageError(f"dtype must be one of {', '.join(DTYPES)}, not '{dtype}'.")
    net = nets.build(dataclasses.replace(checkpoint.config, dropout=0.0), checkpoint.head)
    net.cast(dtype)
    wanted = parameters.shapes(checkpoint.config, checkpoint.head)
    parameters.check({name: checkpoint.params[name] for name in wanted if name in checkpoint.params}, wanted)
    return nets.symbol(net), {f"arg:{name}": checkpoint.params[name].astype(dtype, copy=False) for name in wanted}


def export_bundle(checkpoint: Checkpoint, path: str | os.PathLike[str], *, dtype: str = "float32",
                  task: str | None = None, metrics: Mapping[str, Any] | None = None,
                  trainer: str | None = None) -> Bundle:
    """Write ``checkpoint`` as a bundle with the plain graph of its network; see :meth:`Bundle.save`.

    The weights of a "float16" bundle are rounded; everything else keeps its value.
    """
    symbol, arrays = graph_of(checkpoint, dtype)
    params = {name.removeprefix("arg:"): array for name, array in arrays.items()}
    return Bundle.save(path, dataclasses.replace(checkpoint, params=params), symbol, task=task, metrics=metrics,
                       trainer=trainer)
