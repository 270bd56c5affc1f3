"""Precisions of the native engine: what the names mean on this processor, and the choice of one by measuring."""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bertpass.engines.base import check_dtype
from bertpass.errors import UsageError
from bertpass.model.plan import base_of

if TYPE_CHECKING:
    from bertpass import _native
    from bertpass.model.record import Checkpoint

#: what the kernels compute in, in the order in which "auto" tries them
COMPUTED = ("float32", "bfloat16", "int8")
#: what a person may ask for
DTYPES = (*COMPUTED, "float16", "auto")
#: relative error that "auto" allows by default: that of bfloat16 on real sentences, with some room
MAX_ERROR = 1e-2
#: a lower precision has to be faster by this factor: otherwise chance would decide
GAIN = 1.05

#: instruction sets of the kernels that multiply in this precision; the others widen to float32 first
_UNITS = {"bfloat16": ("avx512_bf16", "amx"), "int8": ("avx512", "avx512_bf16", "amx")}
_SECONDS = 0.25  # for the timing of one candidate, once both have run _LEAST times
_LEAST, _MOST = 2, 7
_UNKNOWN = 0.1  # share of unknown tokens from which the sentences tell nothing about a vocabulary

SENTENCES = (
    "The train to the coast leaves every morning at half past seven.",
    "She had never seen so much snow in one night, and the roads were closed until noon.",
    "Please send me the signed contract before the end of the week.",
    "Profits rose by 12 percent in the third quarter, well above what analysts had expected.",
    "A dull film with one good joke.",
    "Why does bread go stale faster in the fridge than on the table?",
    "The committee will vote on the new budget next Tuesday, although two members have asked for more time.",
    "He plays the cello, badly but with great joy.",
    "Doctors advise adults to sleep between seven and nine hours, to drink enough water and to take a walk each day.",
    "The museum is free on Sundays.",
    "After the storm the fishermen repaired their nets, counted the boats that were left, and waited for the wind to "
    "turn so that they could go out to sea again.",
    "Our support team could not reproduce the error with version 3.2 on Windows.",
)

log = logging.getLogger("bertpass")


@dataclass(frozen=True)
class Choice:
    """A precision; where it was chosen here, why, and the error and the seconds of each one that was tried."""

    dtype: str
    why: str = ""
    measured: dict[str, dict[str, float]] = field(default_factory=dict)


def has_units(dtype: str, isa: str) -> bool:
    """Whether the kernels of an instruction set multiply in this precision, rather than widen to float32 first."""
    return dtype == "float32" or isa in _UNITS[dtype]


def explain(isa: str) -> dict[str, str]:
    """How each precision that a person may ask for is computed with an instruction set, in words."""
    def way(dtype: str) -> str:
        if isa == "portable":
            return "plain loops, slow"
        return "fast units" if has_units(dtype, isa) else "no units of its own, widened to float32"

    told = {dtype: way(dtype) for dtype in COMPUTED}
    return {**told, "float16": f"computed in {float16(isa).dtype}", "auto": "measured when a model is loaded"}


def check(dtype: str, max_error: float | None) -> None:
    """UsageError where a precision or the error that "auto" allows cannot be."""
    base = base_of(dtype)
    check_dtype("native", base, DTYPES)
    if dtype != base and base not in COMPUTED:
        raise UsageError(f"dtype='{base}' chooses a precision by itself, so no parts can be kept in another; give one "
                         f"of {', '.join(COMPUTED)} beside keep.")
    if max_error is None:
        return
    if dtype != "auto":
        raise UsageError(f"max_error belongs to dtype='auto'; with dtype='{dtype}' leave it out.")
    if isinstance(max_error, bool) or not isinstance(max_error, (int, float)) or not 0 < max_error < 1:
        raise UsageError(f"max_error must be a number between 0 and 1, not {max_error!r}.")


def float16(isa: str) -> Choice:
    """What float16 is computed in: no kernel has float16 units yet."""
    dtype = "bfloat16" if has_units("bfloat16", isa) else "float32"
    return Choice(dtype, f"the kernels for {isa} have no float16 units, so float16 is computed in {dtype}")


@functools.cache
def say_once(sentence: str) -> None:
    """A warning, the first time that a process has to give it."""
    log.warning("%s.", sentence)


def fastest(make: Callable[[str], _native.Model], checkpoint: Checkpoint, max_error: float = MAX_ERROR,
            candidates: Iterable[str] = COMPUTED[1:]) -> tuple[_native.Model, Choice]:
    """The model in the fastest precision whose token states are near those of float32, on this machine and now.

    The batch is :data:`SENTENCES`, or as many rows of random ids where the vocabulary does not know English. The error
    is the Euclidean length of the difference of all token states over the length of float32's. Two models are timed in
    turns, and the slower one is let go before the next is made.

    Parameters
    ----------
    make : gives the model in a precision
    checkpoint : whose tokenizer and configuration the batch comes from
    """
    batch = sentence_batch(checkpoint)
    dtype, model = "float32", make("float32")
    exact = model.states(*batch)
    length = float(np.linalg.norm(exact))
    measured: dict[str, dict[str, float]] = {"float32": {"error": 0.0}}
    for name in candidates:
        other = make(name)
        error = float(np.linalg.norm(other.states(*batch) - exact)) / length
        measured[name] = {"error": error}
        if math.isfinite(error) and error <= max_error:
            seconds = _in_turns((model, other), batch)
            measured[dtype]["seconds"], measured[name]["seconds"] = seconds
            if seconds[0] >= seconds[1] * GAIN:
                dtype, model = name, other
        del other
    return model, Choice(dtype, _reason(dtype, measured, max_error), measured)


def sentence_batch(checkpoint: Checkpoint) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids, token types (rows, tokens) and valid lengths (rows,), int32, of sentences or of random ids."""
    config, tokenizer = checkpoint.config, checkpoint.tokenizer
    longest = min(checkpoint.max_length or config.max_length, config.max_length)
    rows = None
    if tokenizer is not None:
        rows = [encoding.ids for encoding in tokenizer.encode(SENTENCES, max_length=longest)]
        if np.mean(np.concatenate(rows) == tokenizer.unk_id) > _UNKNOWN:
            rows = None
    if rows is None:
        source = np.random.default_rng(0)
        rows = [source.integers(0, config.vocab_size, min(len(text.split()) + 4, longest)) for text in SENTENCES]
    lengths = np.array([len(row) for row in rows], np.int32)
    ids = np.zeros((len(rows), lengths.max()), np.int32)
    for at, row in enumerate(rows):
        ids[at, :len(row)] = row
    return ids, np.zeros_like(ids), lengths


def _in_turns(models: tuple[Any, Any], batch: tuple[np.ndarray, ...]) -> tuple[float, float]:
    """The shortest time of each model for the batch, in seconds; both have run before."""
    best, began, turns = [math.inf, math.inf], time.perf_counter(), 0
    while turns < _LEAST or (turns < _MOST and time.perf_counter() - began < _SECONDS):
        for at, model in enumerate(models):
            start = time.perf_counter()
            model.states(*batch)
            best[at] = min(best[at], time.perf_counter() - start)
        turns += 1
    return best[0], best[1]


def _reason(chosen: str, measured: dict[str, dict[str, float]], max_error: float) -> str:
    """One clause a precision: how long a dozen sentences took and how far their token states were off."""
    told = []
    for name, figures in measured.items():
        error = f"error {figures['error']:.1e}" if name != "float32" else "the reference"
        if "seconds" in figures:
            told.append(f"{name} {figures['seconds'] * 1e3:.1f} ms, {error}")
        elif name != "float32":
            told.append(f"{name} refused, {error}")
    return f"{chosen} is the fastest within an error of {max_error:g} ({'; '.join(told) or 'nothing else to try'})"
