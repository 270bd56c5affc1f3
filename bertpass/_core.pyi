"""The native level: symbol graphs and passes without MXNet.

Every function raises bertpass.errors.GraphError or PassError, both with one sentence, for what is said below.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

class PassInfo:
    """One row of the list of passes: everything that is special about a pass."""

    @property
    def name(self) -> str: ...
    @property
    def documentation(self) -> str:
        """One line."""
    @property
    def devices(self) -> tuple[str, ...]:
        """Devices ("cpu", "gpu") for which it runs by default."""
    @property
    def provided_by(self) -> str:
        """Of whom the pass is: "core", this package, or "mxnet"."""
    @property
    def options(self) -> dict[str, str]:
        """Names of the options that it takes, and for people their values."""
    @property
    def takes_encoder(self) -> bool:
        """Whether an encoder is gone where it rewrites, and with it what other passes look for."""
    @property
    def needs_cuda_engine(self) -> bool:
        """Whether on a GPU the CUDA engine computes what it puts in."""
    @property
    def reads_factors(self) -> bool:
        """Whether it reads factors of calibration, parameters that no graph uses."""

def passes() -> list[PassInfo]:
    """All of them, in the order in which they run."""

def select(
    asked: Sequence[str], device: str, dtype: str, mxnet: bool, cuda_engine: bool
) -> tuple[list[PassInfo], list[str]]:
    """The passes that run, and sentences for the person who asked. See bertpass.passes.select.

    ``asked`` is "auto", "none" or names; each word may hold several with commas. ``mxnet`` and ``cuda_engine`` say what
    is installed.
    """

ENCODER_OPERATOR: str
"""Name of the operator that the pass native_encoder puts in and bertpass_lib.so computes."""

def default_threads() -> int:
    """Threads that the operator takes where nothing else is said: as bertpass.machine.threads() counts them."""

class Graph:
    """A symbol's graph. It does not change: a pass gives another one."""

    def __init__(self, json: str) -> None:
        """Read a symbol in MXNet's JSON, without dead nodes and ``__ext_*`` attributes.

        GraphError for a text that is no usable graph, or a graph that does not hold together: an input that is not
        defined, a cycle, two arguments of one name.
        """

    def json(self) -> str:
        """The symbol in the order and the spelling of MXNet 1.x; written once."""

    def arguments(self) -> list[str]:
        """Names of the variables, inputs and parameters alike, in the order of the nodes."""

    def op_counts(self) -> dict[str, int]:
        """How many nodes of each operator the graph has; variables are not counted."""

    def verify(self, params: Mapping[str, Any] | None = None, before: Graph | None = None) -> None:
        """Raise GraphError unless parameters and heads fit.

        With ``params`` (anything with a shape) every parameter is there with a shape that its place allows; with
        ``before`` the heads have the names that they have there.
        """

    def apply(
        self, params: Mapping[str, NDArray[Any]], name: str, options: Mapping[str, str] = ...
    ) -> tuple[Graph, dict[str, NDArray[Any]], list[str], int]:
        """Run the pass ``name`` with options of :attr:`PassInfo.options`; ``dtype`` is float32 by default.

        ``params`` are plain names (no ``arg:``) and arrays of any dtype. Gives the new graph, verified, which is this
        one where nothing is rewritten; the arrays that it needs beside ``params``; the arguments that it needs no
        more; and the number of places rewritten. PassError for an unknown name or option, for a pass of MXNet's, and
        for a dtype other than float32 where there is no encoder to compute in it.
        """

def interleave(
    query: NDArray[Any], key: NDArray[Any], value: NDArray[Any], heads: int
) -> NDArray[Any]:
    """Join weights (units, inputs) or biases (units,) head by head.

    With P = units / heads, row h * P + r of part i becomes row (h * 3 + i) * P + r of the result, which has three times
    the rows and the dtype of the parts. ValueError if the shapes or dtypes differ or heads does not divide units.
    """
