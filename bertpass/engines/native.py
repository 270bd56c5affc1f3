"""Our own engine for CPUs: no MXNet, no padding computed, kernels chosen for the processor at run time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bertpass import _native, machine
from bertpass.engines import precision, rows
from bertpass.engines.base import Engine, check_threads
from bertpass.engines.rows import Output
from bertpass.errors import UsageError
from bertpass.model import parameters
from bertpass.model.files import mapping
from bertpass.model.low_precision.plan import base_of, kept_by, plan_text
from bertpass.model.record import Checkpoint, PackedCheckpoint

DTYPES = precision.COMPUTED


class NativeEngine(Engine):
    """Runs a checkpoint's network in the native core.

    Several Python threads may call :meth:`rows` and :meth:`forward` at once: each call has working memory of its own,
    and the interpreter's lock is released while it computes. A batch's rows do not influence each other.

    Parameters
    ----------
    checkpoint
        Its layers are packed into memory of the engine; of its arrays the embedding tables alone are kept, in place.
    dtype
        Of the weights and activations that matrix products read: "float32", "bfloat16", or "int8" (weights with a
        scale per output channel, activations with a scale and a zero point per token, attention in bfloat16 or
        float32). Sums, softmax, layer normalisation, activation functions and the head stay in float32.
        "float16" is computed in bfloat16 where the processor has units for it, else in float32, and a warning says
        which; "auto" is bfloat16 where that is faster and near enough to float32, else float32, by a rule and not by a
        clock, see :func:`bertpass.engines.precision.choose`. Any precision plan
        (:mod:`bertpass.model.low_precision.plan`) is a dtype too.
    keep
        Layers, or products of layers, that compute in another type than ``dtype``: "LAYER" or "LAYER.PRODUCT" -> type,
        for example ``{"0": "bfloat16", "5.down": "float32"}``.
    threads
        For one forward; ``None`` takes :func:`bertpass.machine.threads`.
    isa
        Instruction set, of ``_native.instruction_sets()``; ``None`` takes the environment's ``BERTPASS_ISA``, else the
        fastest that the processor has.
    max_error
        For "auto": largest relative error of bfloat16's token states, default
        :data:`bertpass.engines.precision.MAX_ERROR`.

    Raises
    ------
    UsageError
        ``dtype``, ``keep``, ``threads`` or ``max_error`` is none of those.
    DeviceError
        The instruction set is unknown or not there.
    ModelError
        Weights are missing, misshapen or do not fit the head.
    """

    name = "native"

    def __init__(self, checkpoint: Checkpoint, *, dtype: str | None = None, keep: Mapping[str, str] | None = None,
                 threads: int | None = None, isa: str | None = None, max_error: float | None = None) -> None:
        if dtype is not None or keep or max_error is not None:
            dtype = plan_text(dtype or "float32", keep)
            precision.check(dtype, max_error)
        threads = check_threads(threads)
        options = {"threads": threads, "isa": isa or ""}
        if isinstance(checkpoint, PackedCheckpoint):
            model, choice = _packed(checkpoint, dtype, options)
        else:
            model, choice = _fresh(checkpoint, dtype or "float32", max_error, options)
        self.model: _native.Model | None = model  # None once closed
        self._about = {"engine": self.name, "device": "cpu", "dtype": base_of(choice.dtype), "threads": threads,
                       "instruction_set": model.instruction_set}
        if kept := kept_by(choice.dtype):
            self._about["keep"] = kept
        if choice.why:
            self._about |= {"dtype_asked": dtype, "dtype_why": choice.why}
        if choice.errors:
            self._about["dtype_errors"] = choice.errors

    def rows(self, ids: np.ndarray, token_types: np.ndarray, offsets: np.ndarray) -> list[Output]:
        """See :meth:`Engine.rows`; the arrays go to the kernels as they are."""
        return self._rows(ids, token_types, offsets, None)

    def attended_rows(self, ids: np.ndarray, token_types: np.ndarray, offsets: np.ndarray, keys: np.ndarray,
                      ) -> list[Output]:
        """See :meth:`Engine.attended_rows`."""
        return self._rows(ids, token_types, offsets, np.ascontiguousarray(keys, np.int64))

    def _rows(self, ids: np.ndarray, token_types: np.ndarray, offsets: np.ndarray, keys: np.ndarray | None,
              ) -> list[Output]:
        model = self._open()
        rows.check(ids, token_types, offsets)
        outputs = [Output(np.empty((len(ids), width), np.float32), offsets) if per_token else
                   Output(np.empty((len(offsets) - 1, width), np.float32)) for per_token, width in model.outputs]
        model.rows(ids, token_types, offsets, [output.values for output in outputs], keys)
        return outputs

    def forward(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> list[np.ndarray]:
        """See :meth:`Engine.forward`; the bits are those of :meth:`rows`. UsageError where a shape, an id or a length
        does not fit the model.

        Past the valid length token states are zero, and the logits of answers and tags are those of a zero state, the
        bias.
        """
        model, arrays, outputs = self._batch(input_ids, token_types, valid_length)
        model.forward(*arrays, outputs)
        return outputs

    def profile(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray, calls: int = 1,
                ) -> dict[str, float]:
        """See :meth:`Engine.profile`; stages of all layers together, as the thread that calls sees them.

        ``embedding``, ``qkv``, ``attention``, ``projection``, ``norm``, ``up`` (with the activation function),
        ``down``, ``quantize`` (of int8, between two products), ``head``. :meth:`forward` reads no clock.
        """
        model, arrays, outputs = self._batch(input_ids, token_types, valid_length)
        runs = [model.profile(*arrays, outputs) for _ in range(calls)]
        return {stage: sum(run[stage] for run in runs) / calls for stage in runs[0]}

    def _batch(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray,
               ) -> tuple[_native.Model, tuple[np.ndarray, np.ndarray, np.ndarray], list[np.ndarray]]:
        """The model, the inputs as it reads them, and arrays for its outputs."""
        model = self._open()
        arrays = rows.batch(input_ids, token_types, valid_length)
        return model, arrays, [np.empty(shape, np.float32) for shape in model.output_shapes(*arrays[0].shape)]

    def _open(self) -> _native.Model:
        model = self.model
        if model is None:
            raise UsageError("this engine is closed; load the model again.")
        return model

    def describe(self) -> dict[str, Any]:
        """Engine, precision, threads, and the instruction set that was chosen; ``keep`` where parts have another
        precision.

        Where the precision was chosen here, ``dtype_asked`` and ``dtype_why`` as well, and where "auto" compared one
        with float32 ``dtype_errors``: precision -> relative error of the token states.
        """
        return dict(self._about)

    def close(self) -> None:
        """Give the memory back; a forward in another thread ends first."""
        self.model = None


def chosen(checkpoint: Checkpoint, dtype: str | None, max_error: float | None = None, threads: int | None = None,
           ) -> precision.Choice:
    """The precision that :func:`from_checkpoint` would compute in, and why, so that several processes can be told.

    UsageError, ModelError as there.
    """
    if isinstance(checkpoint, PackedCheckpoint):
        return _packed_choice(checkpoint, dtype)
    return _choice(_maker(checkpoint, {"threads": check_threads(threads), "isa": ""}), checkpoint, dtype or "auto",
                   max_error, "")[1]


def _fresh(checkpoint: Checkpoint, dtype: str, max_error: float | None, options: dict[str, Any],
           ) -> tuple[_native.Model, precision.Choice]:
    """A model with the checkpoint's layers packed here."""
    make = _maker(checkpoint, options)
    model, choice = _choice(make, checkpoint, dtype, max_error, options["isa"])
    model = make(choice.dtype) if model is None else model
    mapping.release(checkpoint.params.values())  # the layers' arrays are not needed any more
    return model, choice


def _maker(checkpoint: Checkpoint, options: dict[str, Any]) -> Callable[[str], _native.Model]:
    """What gives a model of the checkpoint in a precision; ModelError where weights are missing or misshapen."""
    config, arrays = checkpoint.network()
    floats = parameters.as_floats(arrays | parameters.factors_of(checkpoint.params))
    arguments = config.to_dict(), checkpoint.head.to_dict(), floats
    return lambda dtype: _native.Model(*arguments, dtype=dtype, **options)


def _choice(make: Callable[[str], _native.Model], checkpoint: Checkpoint, dtype: str, max_error: float | None, isa: str,
            ) -> tuple[_native.Model | None, precision.Choice]:
    """What a precision that a person may ask for is computed in, and a model in it where one was made on the way."""
    if dtype == "auto":
        model, choice = precision.choose(make, checkpoint, _native.selected(isa), machine.vendor(),
                                         max_error or precision.MAX_ERROR)
        precision.log.info("dtype auto is %s.", choice.why)
        return model, choice
    if dtype == "float16":
        choice = precision.float16(_native.selected(isa))
        precision.say_once(choice.why)
        return None, choice
    return None, precision.Choice(dtype)


def _packed(checkpoint: PackedCheckpoint, dtype: str | None, options: dict[str, Any],
            ) -> tuple[_native.Model, precision.Choice]:
    """A model on the checkpoint's own memory."""
    choice = _packed_choice(checkpoint, dtype)
    model = _native.Model(checkpoint.config.to_dict(), checkpoint.head.to_dict(),
                          parameters.as_floats(checkpoint.params), packed=checkpoint.layers, **options)
    return model, choice


def _packed_choice(checkpoint: PackedCheckpoint, dtype: str | None) -> precision.Choice:
    if dtype not in (None, checkpoint.dtype):
        raise UsageError(f"{checkpoint.source} is packed in {checkpoint.dtype}; leave dtype out, or pack the model in "
                         f"{dtype} with bertpass pack.")
    return precision.Choice(checkpoint.dtype)


def from_checkpoint(checkpoint: Checkpoint, *, dtype: str | None = None, keep: Mapping[str, str] | None = None,
                    threads: int | None = None, max_error: float | None = None) -> NativeEngine:
    """As :class:`NativeEngine`; ``dtype`` None is a packed file's own, else "auto"."""
    if dtype is None and not isinstance(checkpoint, PackedCheckpoint):
        dtype = "auto"
    return NativeEngine(checkpoint, dtype=dtype, keep=keep, threads=threads, max_error=max_error)
