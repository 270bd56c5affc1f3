"""Precisions of the native engine: what the names mean on this processor, and the rule by which "auto" chooses one."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bertpass import machine
from bertpass.engines.base import check_dtype
from bertpass.errors import UsageError
from bertpass.model.low_precision.plan import base_of

if TYPE_CHECKING:
    from bertpass import _native
    from bertpass.model.record import Checkpoint

#: what the kernels compute in
COMPUTED = ("float32", "bfloat16", "int8")
#: what a person may ask for
DTYPES = (*COMPUTED, "float16", "auto")
#: relative error that "auto" allows by default: that of bfloat16 on real sentences, with some room
MAX_ERROR = 1e-2
#: instruction sets of the kernels that multiply in this precision; the others widen to float32 first
_UNITS = {"bfloat16": ("avx512_bf16", "amx", "neon_bf16"),
          "int8": ("avx2", "avx512", "avx512_bf16", "amx", "neon", "neon_dot", "neon_bf16")}
#: makers of processors whose AVX512_BF16 does twice the multiplications of float32 in the same time: AMD's since Zen 4.
#: With Intel's (Cooper Lake, and later ones where tiles may not be used) bfloat16 is slower than float32.
_FULL_RATE = ("AuthenticAMD",)
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
    """A precision; where it was chosen here, why, and the errors of those that were compared with float32."""

    dtype: str
    why: str = ""
    errors: dict[str, float] = field(default_factory=dict)


def has_units(dtype: str, isa: str) -> bool:
    """Whether the kernels of an instruction set multiply in this precision, rather than widen to float32 first."""
    return dtype == "float32" or isa in _UNITS[dtype]


def bfloat16_pays(isa: str, vendor: str) -> bool:
    """Whether kernels of an instruction set multiply bfloat16 faster than float32 on processors of this maker."""
    return isa == "amx" or (isa == "avx512_bf16" and vendor in _FULL_RATE)


def explain(isa: str) -> dict[str, str]:
    """How each precision that a person may ask for is computed with an instruction set, in words."""
    def way(dtype: str) -> str:
        if isa == "portable":
            return "plain loops, slow"
        return "fast units" if has_units(dtype, isa) else "no units of its own, widened to float32"

    told = {dtype: way(dtype) for dtype in COMPUTED}
    auto = "float32"
    if bfloat16_pays(isa, machine.vendor()):
        auto = f"bfloat16 for a model whose token states it changes by at most {MAX_ERROR:g}, else float32"
    return {**told, "float16": f"computed in {float16(isa).dtype}", "auto": auto}


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


def choose(make: Callable[[str], _native.Model], checkpoint: Checkpoint, isa: str, vendor: str,
           max_error: float = MAX_ERROR) -> tuple[_native.Model | None, Choice]:
    """The precision that "auto" is for these kernels, this processor and these weights; and a model in it, where one
    was made to find out.

    bfloat16 where :func:`bfloat16_pays` and its error is within ``max_error``, else float32. No clock decides: the
    same model on the same processor has the same precision in every process and at every start. The error is the
    Euclidean length of the difference of all token states over the length of float32's, on :data:`SENTENCES`, or on
    as many rows of random ids, always the same, where the vocabulary does not know English.

    Parameters
    ----------
    make : gives the model in a precision
    checkpoint : whose tokenizer and configuration the rows come from
    isa : the kernels' instruction set
    vendor : :func:`bertpass.machine.vendor`
    """
    if not bfloat16_pays(isa, vendor):
        if has_units("bfloat16", isa) and isa.startswith("neon"):
            return None, Choice("float32", f"float32: how fast the kernels for {isa} multiply bfloat16 has not been "
                                "measured")
        return None, Choice("float32", f"float32: the kernels for {isa} multiply bfloat16 no faster on this processor")
    batch = sentence_batch(checkpoint)
    exact, low = make("float32"), make("bfloat16")
    states = exact.states(*batch)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = float(np.linalg.norm(low.states(*batch) - states) / np.linalg.norm(states))
    if math.isfinite(error) and error <= max_error:
        return low, Choice("bfloat16", f"bfloat16: the kernels for {isa} multiply it faster than float32, and its "
                           f"error of {error:.1e} is within {max_error:g}", {"bfloat16": error})
    return exact, Choice("float32", f"float32: bfloat16 would be faster, but its error of {error:.1e} is not within "
                         f"{max_error:g}", {"bfloat16": error})


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
