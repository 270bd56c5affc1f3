"""The native level: symbol graphs and passes without MXNet. Symbols are texts in MXNet's JSON.

Every function raises bertpass.errors.GraphError for a text that is no usable graph, and GraphError or PassError, both
with one sentence, for what is said below.
"""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

def passes() -> list[tuple[str, str, tuple[str, ...]]]:
    """Name, line of documentation and default devices ("cpu", "gpu") of each pass, in the order in which they run."""

def published_passes() -> dict[str, str]:
    """Names by which GluonNLP's scripts call passes, and the passes that do the same here.

    MaskSoftmax stands for itself: it changes nothing.
    """

ENCODER_OPERATOR: str
"""Name of the operator that the pass native_encoder puts in and bertpass_lib.so computes."""

def default_threads() -> int:
    """Threads that the operator takes where nothing else is said: as bertpass.machine.threads() counts them."""

def apply(
    json: str, params: Mapping[str, NDArray[Any]], name: str, options: Mapping[str, str] = ...
) -> tuple[str, dict[str, NDArray[Any]], list[str], int]:
    """Run the pass ``name``. native_encoder takes the option ``dtype``: a precision plan, default float32.

    ``params`` are plain names (no ``arg:``) and arrays of any dtype. Gives the new symbol, verified; the arrays that
    it needs beside ``params``; the arguments that it needs no more; and the number of places rewritten. PassError for
    an unknown name or option.
    """

def verify(json: str, params: Mapping[str, Any] | None = None, before: str | None = None) -> None:
    """Raise GraphError unless the graph holds together.

    Nodes in order, every input defined, no dead node, argument names unique, no ``__ext_*`` attribute; with ``params``
    (anything with a shape) every parameter is there with a shape that its place allows; with ``before``, a symbol, the
    heads have the names that they have there.
    """

def canonical(json: str) -> str:
    """The same graph without dead nodes and ``__ext_*`` attributes, in the order and the spelling of MXNet 1.x."""

def arguments(json: str) -> list[str]:
    """Names of the variables, inputs and parameters alike, in the order of the nodes."""

def op_counts(json: str) -> dict[str, int]:
    """How many nodes of each operator the graph has; variables are not counted."""

def interleave(
    query: NDArray[Any], key: NDArray[Any], value: NDArray[Any], heads: int
) -> NDArray[Any]:
    """Join weights (units, inputs) or biases (units,) head by head.

    With P = units / heads, row h * P + r of part i becomes row (h * 3 + i) * P + r of the result, which has three times
    the rows and the dtype of the parts. ValueError if the shapes or dtypes differ or heads does not divide units.
    """
