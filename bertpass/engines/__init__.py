"""Engines by name, and :func:`load`, which gives a model on one of them."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import logging
import os
from collections.abc import Sequence
from typing import Any

from bertpass.engines import given
from bertpass.engines.base import Engine, options_of
from bertpass.engines.model import Model
from bertpass.errors import UsageError, unknown
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.given import Given
from bertpass.options import check

#: name -> module with ``from_checkpoint(checkpoint, *, ...) -> Engine``, whose keywords are the engine's options; to
#: add an engine, add its line
ENGINES = {
    "cuda": "bertpass.engines.cuda.engine",
    "mxnet": "bertpass.engines.frameworks.mxnet_engine",
    "native": "bertpass.engines.native",
    "onnxruntime": "bertpass.engines.frameworks.onnxruntime_engine",
    "openvino": "bertpass.engines.frameworks.openvino_engine",
    "tensorflow": "bertpass.engines.frameworks.tensorflow_engine",
    "torch": "bertpass.engines.frameworks.torch_engine",
    "tvm": "bertpass.engines.tvm.engine",
}

log = logging.getLogger("bertpass")

__all__ = ["ENGINES", "Engine", "Model", "load"]


def load(path_or_name: str | os.PathLike[str], engine: str = "native", *, kind: str | None = None,
         labels: Sequence[str] | None = None, max_length: int | None = None, vocab: str | None = None,
         num_heads: int | None = None, case: str | None = None, allow_pickle: bool = False, **options: Any) -> Model:
    """As :func:`bertpass.load`, which has the description; an option of None counts as not given."""
    if not isinstance(path_or_name, (str, os.PathLike)) or not os.fspath(path_or_name).strip():
        raise UsageError(f"give the name or the path of a model, as in bertpass.load('minilm'), not {path_or_name!r}.")
    engine = given.ENGINES.get(engine, engine)
    if engine not in ENGINES:
        raise UsageError(unknown("engine", str(engine), ENGINES))
    module = importlib.import_module(ENGINES[engine])
    options = {name: value for name, value in options.items() if value is not None}
    known = options_of(module.from_checkpoint)
    for name in options:
        if name not in known:
            raise UsageError(unknown(f"option of the {engine} engine", name, known) + _elsewhere(name))
    if isinstance(options.get("dtype"), str):
        options["dtype"] = given.DTYPES.get(options["dtype"], options["dtype"])
    about = Given(kind, list(labels or ()), max_length, vocab, num_heads, case, allow_pickle)
    check(about)
    checkpoint = load_checkpoint(path_or_name, packed=engine == "native", given=about)
    for note in checkpoint.notes:
        log.warning("%s", note)
    made = module.from_checkpoint(checkpoint, **options)
    model = Model(made, checkpoint.config, checkpoint.head, checkpoint.tokenizer, checkpoint.labels or (),
                  checkpoint.max_length, checkpoint.sentence, checkpoint.notes)
    model.carried = checkpoint.carried
    place = os.fspath(path_or_name)
    model.source = place
    model._loading = functools.partial(load, os.path.abspath(place) if os.path.exists(place) else place, engine,
                                       **dataclasses.asdict(about), **options)
    return model


def _elsewhere(name: str) -> str:
    """A hint for an option that another engine has."""
    engine = {"gpu": "mxnet", "passes": "mxnet", "device": "cuda"}.get(name)
    return f" engine='{engine}' has it." if engine else ""
