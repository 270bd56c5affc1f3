"""``bertpass bench gpu``: the CUDA engine next to PyTorch on the same weights and batches, and the GPU's ceilings.

Times are those of the device, between two events of one stream; where a batch's weights are cold, memory larger than
the GPU's cache is written before each call. Without a GPU the same code runs on the CPU with the engine's twin, for its
tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertpass.bench.workloads import SEED, drawn, flops, of_family
from bertpass.engines.cuda.engine import CudaEngine
from bertpass.engines.frameworks.torch_engine import network
from bertpass.errors import DeviceError
from bertpass.extras import require
from bertpass.model import parameters
from bertpass.model.config import EncoderConfig, HeadConfig
from bertpass.model.record import Checkpoint

#: batches of the table; "half" is filled to a half on average, sst and squad have the lengths of real data
CASES = ("1x128", "128x128", "32x384", "8x128", "32x128", "1x384", "32x128 half", "128x128 half", "sst", "squad")
#: milliseconds on an H100 that the project aims at
TARGETS = {"1x128": 0.25, "128x128": 5.2, "32x384": 4.0}
FLUSH = 256 << 20  # bytes, more than any GPU's cache
MOST_CALLS = 300


@dataclass(frozen=True)
class Case:
    """Rows of ``lengths`` tokens, padded to ``length``."""

    name: str
    lengths: tuple[int, ...]
    length: int


def case_of(name: str) -> Case:
    """A case by its name: "BATCHxLENGTH", the same with " half", "sst" or "squad"; UsageError for anything else."""
    shape, _, half = name.partition(" ")
    workload = of_family(shape)[-2 if shape in ("sst", "squad") else 0]  # padded to the longest row
    lengths, length = workload.lengths, workload.groups[0][1]
    if half:
        lengths = drawn(((0, 1), (1, length)), len(lengths))
    return Case(name, lengths, length)


def batch_of(config: EncoderConfig, case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random ids and token types, int32 (rows, length), and the lengths; always the same ones."""
    source, shape = np.random.default_rng(SEED), (len(case.lengths), case.length)
    return (source.integers(0, config.vocab_size, shape).astype(np.int32),
            source.integers(0, max(config.token_type_vocab_size, 1), shape).astype(np.int32),
            np.array(case.lengths, np.int32))


class Clock:
    """Times of calls on a device of PyTorch, in milliseconds."""

    def __init__(self, torch: Any, device: str) -> None:
        self._torch, self._gpu = torch, device == "cuda"
        self._flush = torch.empty(FLUSH if self._gpu else 1024, dtype=torch.uint8, device=device)

    def wait(self) -> None:
        """Until the device has done everything."""
        if self._gpu:
            self._torch.cuda.synchronize()

    def measure(self, call: Callable[[], Any], seconds: float, cold: bool = False) -> dict[str, float]:
        """Median, 10th and 90th percentile of as many calls as take about ``seconds``, after some that do not count."""
        for _ in range(3):
            call()
        self.wait()
        start = time.perf_counter()
        for _ in range(3):
            call()
        self.wait()
        each = (time.perf_counter() - start) / 3
        times = self._times(call, int(np.clip(seconds / each, 5, MOST_CALLS)), cold)
        low, median, high = np.percentile(times, (10, 50, 90))
        return {"median": float(median), "low": float(low), "high": float(high), "calls": len(times)}

    def _times(self, call: Callable[[], Any], calls: int, cold: bool) -> list[float]:
        if not self._gpu:
            times = []
            for _ in range(calls):
                start = time.perf_counter()
                call()
                times.append((time.perf_counter() - start) * 1e3)
            return times
        events = [[self._torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(calls)]
        for first, last in events:
            if cold:
                self._flush.zero_()
            first.record()
            call()
            last.record()
        self.wait()
        return [first.elapsed_time(last) for first, last in events]


def ceilings(torch: Any, device: str, dtype: str, size: int = 8192, megabytes: int = 1024) -> dict[str, float]:
    """Terabytes a second that a copy moves, read and written bytes counted, and TFLOP/s of a large matrix product of
    random numbers by PyTorch: what the GPU gives, whatever its data sheet says."""
    clock = Clock(torch, device)
    source = torch.empty(megabytes << 20, dtype=torch.uint8, device=device).random_()
    to = torch.empty_like(source)
    copy = clock.measure(lambda: to.copy_(source), 0.5)["median"]
    a, b = (torch.randn(size, size, device=device).to(getattr(torch, dtype)) for _ in range(2))
    product = clock.measure(lambda: torch.mm(a, b), 1.0)["median"]
    return {"copy_tb_s": 2 * (megabytes << 20) / copy / 1e9, "gemm_tflop_s": 2 * size ** 3 / product / 1e9}


def random_checkpoint(config: EncoderConfig) -> Checkpoint:
    """A model of this shape with random weights and non-zero biases."""
    head = HeadConfig("none")
    network_config = parameters.network_config(config, head)
    arrays = parameters.random(parameters.shapes(network_config, head), SEED, scale=0.03, random_bias=True)
    return Checkpoint(network_config, head, arrays, source="random weights")


class Bench:
    """Our engine with its ``options`` and PyTorch's forms of one model on one device."""

    def __init__(self, checkpoint: Checkpoint, dtype: str, device: str = "cuda", **options: Any) -> None:
        self.torch: Any = require("torch", "torch")
        if device == "cuda" and not self.torch.cuda.is_available():
            raise DeviceError("PyTorch sees no GPU here; install its CUDA build, and check nvidia-smi.")
        self._checkpoint, self.device = checkpoint, device
        self.ours = CudaEngine(checkpoint, dtype=dtype, **options)
        self.clock = Clock(self.torch, device)
        self._exact = self._network("float32")
        self._eager = self._network(dtype)

    def _network(self, dtype: str) -> Any:
        made: Any = network(self.torch, self._checkpoint, getattr(self.torch, dtype))
        return made.to(self.device)

    def inputs(self, case: Case) -> tuple[Any, Any, np.ndarray]:
        """ids and token types on the device, and the lengths."""
        ids, types, lengths = batch_of(self._checkpoint.config, case)
        return self.torch.from_numpy(ids).to(self.device), self.torch.from_numpy(types).to(self.device), lengths

    def errors(self, case: Case) -> dict[str, float]:
        """Relative L2 distance of token states from PyTorch's in float32, "ours" and "eager"'s, PyTorch's in our type;
        infinite where one is not finite."""
        ids, types, lengths = self.inputs(case)
        outputs = [self.torch.full((*ids.shape, self._checkpoint.config.units), float("nan"), device=self.device)]
        found = self.ours.forward_device(ids, lengths, types, outputs)[0]
        with self.torch.no_grad():
            arguments = self._for_peers(ids, types, lengths)
            wanted, eager = self._exact(*arguments)[0], self._eager(*arguments)[0]
        self.clock.wait()
        return {"ours": _distance(found, wanted), "eager": _distance(eager, wanted)}

    def error_of(self, case: Case, states: Any) -> float:
        """The same of a peer's states."""
        with self.torch.no_grad():
            return _distance(states, self._exact(*self._for_peers(*self.inputs(case)))[0])

    def time_ours(self, case: Case, seconds: float, cold: bool = False) -> dict[str, float]:
        """A forward from ids on the device to float32 states on the device, captured graphs replayed."""
        ids, types, lengths = self.inputs(case)
        outputs = self.ours.forward_device(ids, lengths, types)
        return self.clock.measure(lambda: self.ours.forward_device(ids, lengths, types, outputs), seconds, cold)

    def time_eager(self, case: Case, seconds: float, cold: bool = False) -> dict[str, float]:
        """PyTorch's fused operators with scaled_dot_product_attention, on a GPU captured as a CUDA graph."""
        arguments = self._for_peers(*self.inputs(case))
        with self.torch.no_grad():
            if self.device == "cpu":
                return self.clock.measure(lambda: self._eager(*arguments), seconds, cold)
            side = self.torch.cuda.Stream()
            side.wait_stream(self.torch.cuda.current_stream())
            with self.torch.cuda.stream(side):
                for _ in range(3):
                    self._eager(*arguments)
            self.torch.cuda.current_stream().wait_stream(side)
            graph = self.torch.cuda.CUDAGraph()
            with self.torch.cuda.graph(graph):
                self._eager(*arguments)
            return self.clock.measure(graph.replay, seconds, cold)

    def time_compiled(self, case: Case, seconds: float, mode: str, cold: bool = False) -> dict[str, float]:
        """torch.compile, for this shape alone."""
        arguments = self._for_peers(*self.inputs(case))
        self.torch._dynamo.reset()
        compiled = self.torch.compile(self._eager, mode=mode, dynamic=False)
        with self.torch.no_grad():
            return self.clock.measure(lambda: compiled(*arguments), seconds, cold)

    def _for_peers(self, ids: Any, types: Any, lengths: np.ndarray) -> tuple[Any, Any, Any, bool]:
        on_device = self.torch.from_numpy(lengths.astype(np.int64)).to(self.device)
        return ids.long(), types.long(), on_device, bool((lengths < ids.shape[1]).any())


def _distance(states: Any, wanted: Any) -> float:
    value = float((states.float() - wanted).norm() / wanted.norm())
    return value if np.isfinite(value) else float("inf")


def row(config: EncoderConfig, case: Case, times: Mapping[str, Mapping[str, float]],
        errors: Mapping[str, float], ceiling: float) -> dict[str, Any]:
    """One line of the result: times in milliseconds by engine, and our share of the matrix product's ceiling."""
    work = flops(config, case.lengths)
    return {"case": case.name, "tokens": sum(case.lengths), "padded": len(case.lengths) * case.length,
            "error": errors["ours"], "error_eager": errors["eager"], "gflop": work / 1e9,
            "share_of_ceiling": work / times["ours"]["median"] / 1e9 / ceiling, "target_ms": TARGETS.get(case.name),
            "ms": {name: dict(figures) for name, figures in times.items()}}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as text: milliseconds, and how many times as fast as each peer we are."""
    peers = sorted({name for one in rows for name in one["ms"]} - {"ours"})
    head = ["batch", "tokens", "error", "ours ms", "target", "of ceiling", *(f"{p} ms" for p in peers),
            *(f"x {p}" for p in peers)]
    lines = [head]
    for one in rows:
        medians = {name: figures["median"] for name, figures in one["ms"].items()}
        if "ours" not in medians:  # it failed
            lines.append([one["case"], str(one["tokens"]), "failed", "-", "", "",
                          *(f"{medians[p]:.3f}" if p in medians else "-" for p in peers), *("-" for _ in peers)])
            continue
        lines.append([one["case"], str(one["tokens"]), f"{one['error']:.1e}", f"{medians['ours']:.3f}",
                      "" if one["target_ms"] is None else f"{one['target_ms']:g}", f"{one['share_of_ceiling']:.0%}",
                      *(f"{medians[p]:.3f}" if p in medians else "-" for p in peers),
                      *(f"{medians[p] / medians['ours']:.2f}" if p in medians else "-" for p in peers)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
