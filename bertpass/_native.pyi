"""The CPU engine's core: models and, for tests and measuring, single kernels. Arrays are float32 and int32 in C order.

``isa`` is a name of :func:`instruction_sets`; where it is empty the environment's BERTPASS_ISA decides, and where that
is empty too the fastest is taken. DeviceError (bertpass.errors) for a name that is not known or not there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def instruction_sets() -> list[str]:
    """What this processor can run, slowest first: "portable", "avx2", "avx512", "avx512_bf16"."""

def caches() -> tuple[int, int]:
    """Bytes of the first- and second-level data cache of one core, which sizes of blocks follow from."""

def selected(isa: str = "") -> str:
    """The name of the instruction set that would run."""

def parameters(encoder: Mapping[str, Any], head: Mapping[str, Any]) -> list[tuple[str, list[int]]]:
    """Name and shape of every parameter of a network in their order, from the dicts of bertpass.model.config.

    ModelError for a field that is missing, not known or out of range.
    """

def head(encoder: Mapping[str, Any], head: Mapping[str, Any],
         ) -> tuple[bool, str, list[tuple[str, int, str, str, str, bool]], bool, str, int]:
    """What a head is made of: the fields of bertpass.model.heads.Layout, layers as the fields of its Dense."""

class Model:
    """A model with its weights packed. Safe to call from several threads; the interpreter's lock is released."""

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any],
        params: Mapping[str, NDArray[np.float32]],
        *,
        dtype: str = "float32",
        threads: int = 1,
        isa: str = "",
        packed: NDArray[np.uint8] | None = None,
        caches: tuple[int, int] | None = None,
    ) -> None:
        """``encoder`` and ``head`` are the dicts of bertpass.model.config, ``params`` arrays by GluonNLP's names.

        ``dtype`` is a precision plan (bertpass.model.low_precision.plan); arrays of
        bertpass.model.low_precision.calibration may be among the ``params``. The embedding tables and the bytes of
        ``packed`` are used where they are and kept alive; all else is copied. ``packed`` is what :func:`pack` gave for
        this model: then ``dtype`` is ignored and the layers' arrays need not be there. ModelError for a weight that is
        missing or misshapen, UsageError for a plan that does not fit. ``caches``, on which no result depends, stand for
        those of :func:`caches`.
        """

    def output_shapes(self, batch: int, sequence: int) -> list[list[int]]:
        """The shapes of the outputs of a batch."""

    def forward(
        self,
        input_ids: NDArray[np.int32],
        token_types: NDArray[np.int32],
        valid_length: NDArray[np.int32],
        outputs: Sequence[NDArray[np.float32]],
    ) -> None:
        """Write every element of ``outputs``, arrays of :meth:`output_shapes`.

        UsageError, before anything is written, for ids or lengths out of range or a sequence that is too long.
        """

    @property
    def outputs(self) -> list[tuple[bool, int]]:
        """Of each output whether it is per token, else per row, and its width."""

    def rows(
        self,
        ids: NDArray[np.int32],
        token_types: NDArray[np.int32],
        offsets: NDArray[np.int64],
        outputs: Sequence[NDArray[np.float32]],
        keys: NDArray[np.int64] | None = None,
    ) -> None:
        """:meth:`forward` of rows one after the other: ids and types (tokens,), offsets (rows + 1,); the same bits.

        ``outputs`` are (tokens, width) each where they are per token, else (rows, width). ``keys`` (rows,) says how
        many of a row's first tokens are attended to, by default all. UsageError, before an id is
        read, for offsets that do not cut them into rows.
        """

    def profile(
        self,
        input_ids: NDArray[np.int32],
        token_types: NDArray[np.int32],
        valid_length: NDArray[np.int32],
        outputs: Sequence[NDArray[np.float32]],
    ) -> dict[str, float]:
        """:meth:`forward`, and the seconds that each of its stages took in the calling thread (csrc/ops/stages.h)."""

    def states(
        self, input_ids: NDArray[np.int32], token_types: NDArray[np.int32], valid_length: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """The encoder's token states (batch, sequence, units), whatever the head is; errors as :meth:`forward`."""

    @property
    def instruction_set(self) -> str: ...
    @property
    def threads(self) -> int: ...

def pack(
    encoder: Mapping[str, Any],
    head: Mapping[str, Any],
    params: Mapping[str, NDArray[np.float32]],
    *,
    dtype: str = "float32",
    threads: int = 1,
) -> NDArray[np.uint8]:
    """All layers' weights in one piece of memory, as matrix products read them; the same on every processor."""

def plan(text: str, layers: int) -> list[dict[str, str]]:
    """What a precision plan says of each layer: product -> "float32", "bfloat16" or "int8"; UsageError if it cannot."""

def relative_rows(buckets: int, most: int, length: int) -> list[int]:
    """Rows of DeBERTa's embeddings of distances, for the distances 1 - length to length - 1 from query to key."""


def distance_bias(table: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """What attention adds to its scores: (heads, 2 length - 1), the distance from query to key rising, 0 in the middle.

    ``table`` is (32, heads): a row per range of distances, those to keys after the query in its second half.
    """

def bert_adam(
    tensors: Sequence[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], float]],
    *,
    rate: float,
    first: float,
    second: float,
    epsilon: float,
    gradient_scale: float = 1.0,
    threads: int = 1,
    isa: str = "",
) -> None:
    """One step of BERT's Adam on (weights, gradient, mean, square, weight decay) of every tensor, in place.

    ``first`` and ``second`` are the shares that the averages keep; gradients are multiplied by ``gradient_scale``.
    """

def linear(
    a: NDArray[np.float32],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    residual: NDArray[np.float32] | None = None,
    *,
    activation: str = "none",
    dtype: str = "float32",
    threads: int = 1,
    isa: str = "",
    caches: tuple[int, int] | None = None,
) -> NDArray[np.float32]:
    """activation(a weight^T + bias) + residual, for a (rows, depth) and weight (columns, depth).

    ``activation`` is "none", "gelu", "gelu_coarse", "gelu_tanh", "relu" or "tanh". With ``dtype`` "bfloat16" or "int8"
    a and weight are rounded to it first.
    """

def attention(
    qkv: NDArray[np.float32],
    lengths: Sequence[int],
    heads: int,
    *,
    bias: NDArray[np.float32] | None = None,
    dtype: str = "float32",
    threads: int = 1,
    isa: str = "",
) -> NDArray[np.float32]:
    """softmax(q k^T + bias) v for each sequence and head; no scale is applied.

    ``qkv`` is (sum of lengths, heads x 3 x head size): q, k, v of the first head, then of the second and so on.
    ``bias`` is (heads, 2 L - 1) with the bias of distance 0, from query to key, in the middle, for an L of the longest
    length or more. Gives (sum of lengths, heads x head size).
    """

def layer_norm(
    x: NDArray[np.float32], gamma: NDArray[np.float32], beta: NDArray[np.float32], epsilon: float, *, isa: str = ""
) -> NDArray[np.float32]:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta over the last axis of x (rows, columns)."""

class Work:
    """A kernel with inputs that are ready for it: weights packed, rows in its number type."""

    def time(self, calls: int) -> float:
        """Seconds of that many calls; the interpreter's lock is released."""

    def result(self) -> NDArray[np.float32]:
        """What one call writes."""

def linear_work(
    a: NDArray[np.float32],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    residual: NDArray[np.float32] | None = None,
    *,
    activation: str = "none",
    dtype: str = "float32",
    threads: int = 1,
    isa: str = "",
    caches: tuple[int, int] | None = None,
) -> Work:
    """:func:`linear`, to be timed; the rounding of ``a`` is not a part of it."""

def attention_work(
    qkv: NDArray[np.float32],
    lengths: Sequence[int],
    heads: int,
    *,
    bias: NDArray[np.float32] | None = None,
    dtype: str = "float32",
    threads: int = 1,
    isa: str = "",
) -> Work:
    """:func:`attention`, to be timed."""

def layer_norm_work(
    x: NDArray[np.float32],
    gamma: NDArray[np.float32],
    beta: NDArray[np.float32],
    epsilon: float,
    *,
    threads: int = 1,
    isa: str = "",
) -> Work:
    """:func:`layer_norm`, to be timed."""

def softmax_work(x: NDArray[np.float32], *, isa: str = "") -> Work:
    """Softmax over the last axis of x (rows, columns); a copy of x is a part of each call."""

def peak(dtype: str = "float32", *, threads: int = 1, seconds: float = 0.25, isa: str = "") -> float:
    """Operations a second in registers, a multiplication and an addition being two; measured in ``seconds``.

    Where the instruction set has none for bfloat16, this is what it does in float32.
    """

def read_bandwidth(bytes: int, *, threads: int = 1, seconds: float = 0.25, isa: str = "") -> float:
    """Bytes a second that the threads read, each its part of ``bytes`` again and again; measured in ``seconds``."""
