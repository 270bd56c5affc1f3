"""A model in low precision for a CPU: calibration, the guard of its metric, and the pair of files that holds it.

Two engines: our own encoder, put into the graph by the pass native_encoder, with a precision plan
(:mod:`bertpass.model.low_precision.plan`); and MXNet's quantised oneDNN operators (:mod:`bertpass.passes.quantize`).
Everything is decided before anything is written.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.engines.base import Engine
from bertpass.engines.frameworks.mxnet_engine import MXNetEngine
from bertpass.engines.native import NativeEngine
from bertpass.jobs.low_precision.calibration_rows import BATCH
from bertpass.jobs.low_precision.guard import Guarded, Metrics, hold
from bertpass.jobs.low_precision.options import Lowering
from bertpass.jobs.tasks.predict import Forward
from bertpass.model import parameters
from bertpass.model.config import HeadConfig
from bertpass.model.export import graph_of
from bertpass.model.low_precision import calibration, numpy_encoder
from bertpass.model.low_precision.plan import HIGHER, plan_text
from bertpass.model.record import Checkpoint
from bertpass.passes import optimize, optimize_graph, quantize
from bertpass.passes.optimize import write_pair
from bertpass.passes.select import Passes
from bertpass.progress import log
from bertpass.text.tokens.batching import batches

_ERROR_ROWS = 32  # on which the error of a part alone is measured


@dataclass(frozen=True)
class Judge:
    """How good a model is: ``score`` gives its metrics on labelled rows, ``metric`` is the one that counts, and
    ``span`` its range (100 for percentages)."""

    score: Callable[[Forward], Metrics]
    metric: str
    span: float = 1.0

    def metrics(self, engine: Engine) -> Metrics:
        """What an engine reaches."""
        return self.score(lambda batch: engine.forward(batch.input_ids, batch.token_types, batch.valid_length))


class Lowered(abc.ABC):
    """A model in low precision, decided on and not yet written.

    ``guarded`` is what the guard found, None where it was not asked for.
    """

    guarded: Guarded | None = None

    @abc.abstractmethod
    def engine(self) -> Engine:
        """The model in memory."""

    @abc.abstractmethod
    def write(self, plain: str, prefix: Path, passes: Passes = "auto", library: str | None = None,
              ) -> dict[str, Any]:
        """Write PREFIX-symbol.json and PREFIX-0000.params; gives the report for result files.

        Parameters
        ----------
        plain : prefix of the exported float32 pair of the same checkpoint
        passes, library : as in :func:`bertpass.passes.optimize`; MXNet's own int8 has passes of its own
        """


def lower(checkpoint: Checkpoint, dtype: str, settings: Lowering, rows: Sequence[Any],
          judge: Judge | None) -> Lowered:
    """Calibrate a model and, where ``settings.max_metric_drop`` is given, find out which parts of it to keep.

    Parameters
    ----------
    dtype : "int8" or "bfloat16", or a precision plan
    rows : encoded sequences for calibration; none: nothing is calibrated
    judge : for the guard; None: there is nothing to hold the model against

    Raises
    ------
    PrecisionError
        The metric does not hold, see :func:`bertpass.jobs.low_precision.guard.hold`.
    """
    allowed = settings.max_metric_drop if judge is not None else None
    if settings.engine == "mxnet":
        return _OneDNN(checkpoint, settings, rows, judge, allowed)
    return _Native(checkpoint, dtype, settings, rows, judge, allowed)


class _Native(Lowered):
    """In our own engine: parts may be kept in another type, and weights are rounded by calibration."""

    def __init__(self, checkpoint: Checkpoint, dtype: str, settings: Lowering, rows: Sequence[Any],
                 judge: Judge | None, allowed: float | None) -> None:
        self._checkpoint, self._dtype = checkpoint, dtype
        self._rows = [(row.ids, row.token_types) for row in rows]
        self._calibrated = "int8" in dtype and settings.calib_mode != "none" and bool(rows)
        if self._calibrated:
            log.info("rounding the weights to int8 for %d rows", len(rows))
        self._rounded = calibration.calibrated(checkpoint, self._rows) if self._calibrated else checkpoint
        if judge is not None and allowed is not None:
            self.guarded = self._guard(judge, allowed)
        self._plan = self._plan_with(self.guarded.kept if self.guarded else ())

    def write(self, plain: str, prefix: Path, passes: Passes = "auto", library: str | None = None,
              ) -> dict[str, Any]:
        report = optimize(plain, str(prefix), passes=passes, library=library, dtype=self._plan,
                          replace=self._weights(self._plan).params if self._calibrated else None)
        log.info("%s", report)
        return {**report.to_dict(), "low_precision": {
            "engine": "native", "plan": self._plan, "calibration_rows": len(self._rows) if self._calibrated else 0,
            "guard": self.guarded and self.guarded.to_dict()}}

    def engine(self) -> Engine:
        return NativeEngine(self._weights(self._plan), dtype=self._plan)

    def _plan_with(self, kept: Sequence[str]) -> str:
        return plan_text(self._dtype, dict.fromkeys(kept, HIGHER.get(self._dtype, "float32")))

    def _weights(self, plan: str) -> Checkpoint:
        return calibration.chosen(self._checkpoint, self._rounded, plan) if self._calibrated else self._checkpoint

    def _guard(self, judge: Judge, allowed: float) -> Guarded:
        def score(plan: str) -> Metrics:
            return judge.metrics(NativeEngine(self._weights(plan), dtype=plan))

        exact = self._states("float32")

        def error_alone(part: str) -> float:
            found = self._states(plan_text("float32", {part: self._dtype}))
            return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))

        return hold(numpy_encoder.parts_of(self._checkpoint.config), lambda kept: score(self._plan_with(kept)),
                    error_alone, score("float32"), judge.metric, allowed, span=judge.span, name=self._dtype)

    def _states(self, plan: str) -> np.ndarray:
        """Token states of some of the calibration rows, one after another."""
        model = dataclasses.replace(self._weights(plan), head=HeadConfig("none"), labels=None)
        engine = NativeEngine(model, dtype=plan)
        return np.concatenate([engine.forward(ids[None], types[None], np.array([len(ids)]))[0][0]
                               for ids, types in self._rows[:_ERROR_ROWS]])


class _OneDNN(Lowered):
    """In MXNet's own operators: matrix products may be kept in float32."""

    def __init__(self, checkpoint: Checkpoint, settings: Lowering, rows: Sequence[Any], judge: Judge | None,
                 allowed: float | None) -> None:
        symbol, params = graph_of(checkpoint)
        self._symbol, params, self._report = optimize_graph(symbol, params, ("remove_noops", "interleave_qkv"))
        self._params = {name.removeprefix("arg:"): array for name, array in params.items()}
        self._settings, self._parts = settings, quantize.candidates(self._symbol, settings.quantized_dtype)
        self._names = parameters.network_config(checkpoint.config, checkpoint.head).input_names
        pad = checkpoint.tokenizer.pad_id if checkpoint.tokenizer is not None else 0
        self._batches = [(batch.input_ids, batch.token_types, batch.valid_length)
                         for batch in batches(rows, BATCH, pad_id=pad)]
        self._count = len(rows)
        if judge is not None and allowed is not None:
            self.guarded = self._guard(judge, allowed)
        self._made = self._quantized(self.guarded.kept if self.guarded else ())

    def write(self, plain: str, prefix: Path, passes: Passes = "auto", library: str | None = None,
              ) -> dict[str, Any]:
        text, arrays = self._made
        write_pair(prefix, text, {f"arg:{name}": array for name, array in arrays.items()})
        done, mode = len(quantize.quantized_nodes(text)), self._settings.calib_mode
        log.info("MXNet's oneDNN int8: %d of %d matrix products, calib_mode %s on %d rows", done, len(self._parts),
                 mode, self._count)
        return {**self._report.to_dict(), "low_precision": {
            "engine": "mxnet", "quantized": done, "products": len(self._parts), "calib_mode": mode,
            "quantized_dtype": self._settings.quantized_dtype, "calibration_rows": self._count,
            "guard": self.guarded and self.guarded.to_dict()}}

    def engine(self) -> Engine:
        return MXNetEngine(*self._made, self._names)

    def _quantized(self, skip: Sequence[str]) -> tuple[str, dict[str, np.ndarray]]:
        return quantize.quantize(self._symbol, self._params, map(self._feed, self._batches), self._settings.calib_mode,
                                 self._settings.quantized_dtype, skip)

    def _feed(self, batch: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        """A batch by the names of the graph's inputs."""
        ids, types, lengths = batch
        arrays = (ids, types, lengths.astype(np.float32))
        return dict(zip(self._names, arrays if len(self._names) == 3 else (ids, arrays[2]), strict=True))

    def _guard(self, judge: Judge, allowed: float) -> Guarded:
        def engine(skip: Sequence[str]) -> MXNetEngine:
            return MXNetEngine(*self._quantized(skip), self._names)

        full = MXNetEngine(self._symbol, self._params, self._names)
        exact = full.forward(*self._batches[0])[0]

        def error_alone(part: str) -> float:
            found = engine([name for name in self._parts if name != part]).forward(*self._batches[0])[0]
            return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))

        return hold(self._parts, lambda kept: judge.metrics(engine(kept)), error_alone, judge.metrics(full),
                    judge.metric, allowed, span=judge.span, name="int8 by oneDNN")
