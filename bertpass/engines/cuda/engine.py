"""Our own engine for NVIDIA GPUs: no padding computed, fused kernels, matrix products by cuBLASLt, captured graphs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from bertpass.engines.base import PaddedEngine, check_dtype
from bertpass.engines.cuda import dlpack, library
from bertpass.errors import UsageError
from bertpass.model import parameters
from bertpass.model.record import Checkpoint

DTYPES = ("float16", "bfloat16", "float32")
#: calls of an engine that compute at the same time at most; each has working memory of its own. Others wait.
CONTEXTS = 8


class CudaEngine(PaddedEngine):
    """Runs a checkpoint's network on one GPU; several Python threads may call it at once.

    Each call that runs at the same time as others has working memory and captured graphs of its own; they are kept for
    later calls, and of more than :data:`CONTEXTS` calls some wait. A batch's rows do not influence each other.

    Parameters
    ----------
    dtype
        Of weights and activations: "float16", "bfloat16" (compute capability 8.0 and later) or "float32". Sums,
        softmax, layer normalisation and the head are float32 in all of them.
    device
        Number of the GPU.
    exact_gelu
        Compute GELU by erf in 16 bits too, which takes a kernel more a layer. Without it GELU is its tanh form there,
        nearer (5e-4) than the types round; float32 is always exact.
    measure
        Choose the algorithms of matrix products by measuring them once for each number of tokens, see
        :func:`bertpass.engines.cuda.library.measurements`; without it the first that cuBLASLt proposes.
    graphs
        Capture a CUDA graph for each size of batch and replay it.

    Raises
    ------
    UsageError
        ``dtype`` or ``device`` is none.
    MissingDependencyError
        The engine's library is not built.
    DeviceError
        There is no GPU, driver or cuBLASLt, or the GPU cannot compute this model. A call raises one whose ``lost`` is
        true where the GPU has failed so that every later call of the process fails.
    ModelError
        Weights are missing, misshapen or do not fit the head.
    """

    name = "cuda"

    def __init__(self, checkpoint: Checkpoint, *, dtype: str = "float16", device: int = 0, exact_gelu: bool = False,
                 measure: bool = True, graphs: bool = True) -> None:
        check_dtype(self.name, dtype, DTYPES)
        if isinstance(device, bool) or not isinstance(device, int) or device < 0:
            raise UsageError(f"device must be the number of a GPU, from 0 on, not {device!r}.")
        config, arrays = checkpoint.network()
        parameters.refuse_embedded_distances(config, "the CUDA engine")
        self._library = library.library()
        self.model: Any = self._library.load(config, checkpoint.head, arrays, dtype=dtype, device=device,
                                              exact_gelu=exact_gelu, measure=measure)
        self._graphs, self._lock = graphs, threading.Condition()
        self._free: list[library.Context] = []
        self._made = 0
        about = self._library.describe(self.model)
        self._place = (dlpack.CPU, 0) if about["driver"] == "0.0" else (dlpack.CUDA, device)  # the first: of the twin
        self._about = {"engine": self.name, "device": about.pop("device"), "dtype": dtype, "exact_gelu": exact_gelu,
                       "measure": measure, "graphs": graphs, **about}

    def forward(self, input_ids: np.ndarray, token_types: np.ndarray, valid_length: np.ndarray) -> list[np.ndarray]:
        """See :meth:`Engine.forward`; UsageError where a shape, an id or a length does not fit the model.

        Past the valid length token states are zero, and the logits of answers and tags are those of a zero state, the
        bias.
        """
        ids, types, lengths = (np.ascontiguousarray(a, np.int32) for a in (input_ids, token_types, valid_length))
        if ids.ndim != 2 or types.shape != ids.shape or lengths.shape != ids.shape[:1]:
            raise UsageError("input_ids and token_types must have one shape (batch, sequence) and valid_length "
                             f"(batch,), not {ids.shape}, {types.shape} and {lengths.shape}.")
        outputs = [np.empty(shape, np.float32) for shape in self._shapes(ids.shape)]
        context = self._take(*ids.shape)
        try:
            context.forward_host(ids, types, lengths, outputs)
        finally:
            self._give(context)
        return outputs

    def forward_device(self, input_ids: Any, valid_length: Sequence[int] | np.ndarray, token_types: Any = None,
                       outputs: Sequence[Any] | None = None, stream: int | None = None) -> list[Any]:
        """Run one batch that is on the GPU already, without waiting for it.

        Parameters
        ----------
        input_ids, token_types
            int32, shape (batch, sequence), row after row on this engine's GPU: tensors of PyTorch, CuPy or anything
            else with DLPack. Ids are not checked: one outside of the vocabulary is taken as the nearest inside.
        valid_length
            Tokens of each row that are not padding, on the host.
        outputs
            float32 tensors of the shapes that :meth:`Engine.forward` describes, to be written, each on an address that
            16 divides; default: new tensors of PyTorch, where ``input_ids`` is one.
        stream
            Pointer of the CUDA stream; default PyTorch's current one for its tensors, else the default stream.

        Returns
        -------
        ``outputs``. They are ready for work on the same stream.
        """
        ids = self._borrow("input_ids", input_ids, np.int32, 2)
        types = None if token_types is None else self._borrow("token_types", token_types, np.int32, 2)
        if types is not None and types.shape != ids.shape:
            raise UsageError(f"token_types must have the shape of input_ids, {ids.shape}, not {types.shape}.")
        try:
            lengths = np.ascontiguousarray(valid_length, np.int32)
        except (TypeError, ValueError) as error:  # PyTorch's own of a tensor on the GPU
            raise UsageError("valid_length must be numbers on the host; call its cpu() first.") from error
        if lengths.shape != ids.shape[:1]:
            raise UsageError(f"valid_length must have the shape {ids.shape[:1]}, not {lengths.shape}.")
        torch = dlpack.torch_of(input_ids)
        if stream is None:
            stream = torch.cuda.current_stream(input_ids.device).cuda_stream if torch and input_ids.is_cuda else 0
        shapes = self._shapes(ids.shape)
        if outputs is None:
            if torch is None:
                raise UsageError("give outputs, tensors to be written: only for PyTorch's they are made here.")
            outputs = [torch.empty(shape, dtype=torch.float32, device=input_ids.device) for shape in shapes]
        written = [self._borrow("outputs", tensor, np.float32, len(shape))
                   for tensor, shape in zip(outputs, shapes, strict=True)]
        for tensor, shape in zip(written, shapes, strict=True):
            if tensor.shape != shape:
                raise UsageError(f"an output must have the shape {shape}, not {tensor.shape}.")
        context = self._take(*ids.shape)
        try:
            context.forward(ids.pointer, types.pointer if types else None, lengths, ids.shape,
                            [tensor.pointer for tensor in written], stream)
        finally:
            self._give(context)  # a later forward waits on the GPU for this one, whatever its stream
        return list(outputs)

    def _borrow(self, name: str, tensor: Any, dtype: Any, axes: int) -> dlpack.Borrowed:
        found = dlpack.borrow(name, tensor, dtype, axes)
        if found.device != self._place:
            raise UsageError(f"{name} must be on GPU {self._place[1]}, where this engine is; move it there first.")
        return found

    def describe(self) -> dict[str, Any]:
        """Engine, precision, options, the GPU with its compute capability, versions of driver, CUDA and cuBLASLt."""
        return dict(self._about)

    def close(self) -> None:
        """Give the memory back, also the GPU's; forwards that run in other threads end first."""
        with self._lock:
            self._free.clear()
            self.model = None
            self._lock.notify_all()

    def _shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        model = self.model
        if model is None:
            raise UsageError("this engine is closed; load the model again.")
        return self._library.output_shapes(model, *shape)

    def _take(self, rows: int, length: int) -> library.Context:
        """A context for this many rows: one that nobody uses, else a new one, else the next that is given back."""
        tokens = rows * length
        with self._lock:
            while True:
                model = self.model
                if model is None:
                    raise UsageError("this engine is closed; load the model again.")
                for context in self._free:
                    if context.rows >= rows and context.tokens >= tokens:
                        self._free.remove(context)
                        return context
                if self._free:  # a larger one takes its place, and its memory
                    old = self._free.pop(0)
                    rows, tokens = max(rows, old.rows), max(tokens, old.tokens)
                    del old
                    break
                if self._made < CONTEXTS:
                    self._made += 1
                    break
                self._lock.wait()
        try:
            return self._library.context(model, max(rows, 8), max(tokens, 1024), self._graphs)
        except BaseException:
            with self._lock:
                self._made -= 1
                self._lock.notify()
            raise

    def _give(self, context: library.Context) -> None:
        with self._lock:
            if self.model is not None:
                self._free.append(context)
            self._lock.notify()


from_checkpoint = CudaEngine
