"""What goes wrong on a GPU, on the twin: calls of CUDA that fail, streams that run late, captures, sizes, threads.

The twin's streams are late where a test asks for it: each keeps its work until a call waits for it, and then they take
turns at random, as far as events allow.
"""

import ctypes
import shutil
import threading

import numpy as np
import pytest

from bertpass.engines.cuda import engine as cuda_engine
from bertpass.engines.cuda import library as cuda_library
from bertpass.engines.cuda.engine import CudaEngine
from bertpass.errors import DeviceError, ModelError, UsageError
from tests.helpers import reference

MEMORY, ILLEGAL_ADDRESS, UNKNOWN = 2, 700, 999  # cudaError_t
SIZES = {"units": 64, "hidden_size": 48, "num_heads": 2, "max_length": 130, "num_layers": 2}
LENGTHS = [9, 1, 4, 12]


@pytest.fixture
def twin(on_gpu, library_path, cublaslt, monkeypatch, tmp_path):
    """The library, whose streams and calls a test may spoil."""
    if on_gpu:
        pytest.skip("a GPU fails on its own: run without BERTPASS_CUDA_TEST to test what is done then")
    monkeypatch.setenv("BERTPASS_CUDA", str(library_path))
    monkeypatch.setenv("BERTPASS_CUBLASLT", cublaslt)
    monkeypatch.setenv("BERTPASS_CUDA_MEASUREMENTS", str(tmp_path / "algorithms.json"))
    found = ctypes.CDLL(str(library_path))
    found.bertpass_cuda_twin_stream.restype = ctypes.c_void_p
    yield found
    found.bertpass_cuda_twin_late(0, 0)
    for function in ("cudaMalloc", "cudaMallocHost", "cudaMemcpyAsync", "cudaStreamSynchronize",
                     "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphLaunch"):
        fail(found, function, 1 << 30)


def fail(twin, function, nth, error=UNKNOWN):
    twin.bertpass_cuda_twin_fail(function.encode(), nth, error)


def tiny(head="none", **fields):
    return reference.tiny("bert", head, **{**SIZES, **fields})


def right(engine, checkpoint, lengths=LENGTHS, seed=0):
    """Whether a batch's outputs are those of NumPy."""
    batch = reference.batch(checkpoint.config, lengths, seed=seed)
    (found,), (wanted,) = engine.forward(*batch), reference.outputs(checkpoint, *batch)
    return np.linalg.norm(found - wanted) <= 1e-5 * np.linalg.norm(wanted)


def test_memory_that_is_not_there_fails_one_forward(twin):
    checkpoint = tiny()
    engine = CudaEngine(checkpoint, dtype="float32")
    assert right(engine, checkpoint)
    fail(twin, "cudaMalloc", 1, MEMORY)
    with pytest.raises(DeviceError, match=r"cudaMalloc of [0-9]+ bytes failed: out of memory"):
        engine.forward(*reference.batch(checkpoint.config, [130] * 20))
    assert right(engine, checkpoint)  # the next one has nothing to do with it
    assert right(engine, checkpoint, [130] * 10)


@pytest.mark.parametrize("function", ["cudaStreamEndCapture", "cudaGraphInstantiate"])
def test_a_capture_that_fails_fails_no_forward(twin, function):
    checkpoint = tiny()
    engine = CudaEngine(checkpoint, dtype="float32")
    fail(twin, function, 1)
    assert all(right(engine, checkpoint, lengths) for lengths in (LENGTHS, [40, 3], LENGTHS))


def test_a_device_that_is_lost_is_told_apart(twin):
    checkpoint = tiny()
    engine = CudaEngine(checkpoint, dtype="float32")
    assert right(engine, checkpoint)
    batch = reference.batch(checkpoint.config, LENGTHS)
    for error, lost in ((ILLEGAL_ADDRESS, True), (UNKNOWN, False)):
        fail(twin, "cudaStreamSynchronize", 1, error)
        with pytest.raises(DeviceError, match="a forward failed") as raised:
            engine.forward(*batch)
        assert raised.value.lost is lost


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("graphs", [True, False])
def test_streams_that_run_late(twin, graphs, seed):
    """Weights, inputs, work and outputs in the order of events alone: several streams, and sizes that replace one
    another's activations."""
    twin.bertpass_cuda_twin_late(1, seed)
    checkpoint = tiny(num_layers=1)
    engine = CudaEngine(checkpoint, dtype="float32", graphs=graphs, measure=False)
    streams = [twin.bertpass_cuda_twin_stream() for _ in range(3)]
    started = []
    for turn in range(9):
        ids, types, lengths = reference.batch(checkpoint.config, [1 + turn % 3 * 20, 5], seed=turn)
        out = np.full((*ids.shape, 64), np.nan, np.float32)
        engine.forward_device(ids, lengths, types, [out], stream=streams[turn % 3])
        started.append((ids, types, lengths, out))
    twin.bertpass_cuda_twin_synchronize()
    for ids, types, lengths, out in started:
        wanted = reference.outputs(checkpoint, ids, types, lengths)[0]
        assert np.linalg.norm(out - wanted) <= 1e-5 * np.linalg.norm(wanted)
    assert right(engine, checkpoint)


@pytest.mark.parametrize("function", ["cudaGraphLaunch", "cudaMemcpyAsync"])
def test_a_forward_that_fails_is_waited_for(twin, function):
    checkpoint = tiny(num_layers=1)
    engine = CudaEngine(checkpoint, dtype="float32", measure=False)
    assert right(engine, checkpoint)
    twin.bertpass_cuda_twin_late(1, 1)
    fail(twin, function, 1)
    with pytest.raises(DeviceError, match="failed: unknown error"):
        engine.forward(*reference.batch(checkpoint.config, LENGTHS, seed=1))
    assert all(right(engine, checkpoint, seed=seed) for seed in range(2, 5))


def test_a_stream_that_is_captured_is_refused(twin):
    checkpoint = tiny()
    engine = CudaEngine(checkpoint, dtype="float32")
    ids, types, lengths = reference.batch(checkpoint.config, LENGTHS)
    out = np.full((*ids.shape, 64), np.nan, np.float32)
    stream = ctypes.c_void_p(twin.bertpass_cuda_twin_stream())
    twin.bertpass_cuda_twin_capture(stream)
    for _ in range(2):  # on a new context and on one that has computed
        with pytest.raises(UsageError, match="cannot be captured; it replays graphs of its own"):
            engine.forward_device(ids, lengths, types, [out], stream=stream.value)
        assert np.isnan(out).all() and right(engine, checkpoint)


def test_more_sizes_than_graphs_were_kept_for(twin):
    checkpoint = tiny(num_layers=1, max_length=1200, vocab_size=8)
    engine = CudaEngine(checkpoint, dtype="float16", measure=False)
    lengths = range(16, 1200, 17)
    assert len(lengths) >= 70
    batch = {length: reference.batch(checkpoint.config, [length]) for length in lengths if length < 300}
    first = {length: engine.forward(*one)[0] for length, one in batch.items()}
    assert all(np.array_equal(engine.forward(*one)[0], first[length]) for length, one in batch.items())


def test_rows_are_rounded_up_by_a_sixteenth(twin):
    checkpoint = tiny(num_layers=1)
    CudaEngine(checkpoint, dtype="float16").forward(*reference.batch(checkpoint.config, [100, 100, 100]))
    CudaEngine(checkpoint, dtype="float16").forward(*reference.batch(checkpoint.config, [129] * 4))
    said = cuda_library.measurements().read_text()
    assert " float16 304x192x64 bias" in said and " float16 544x192x64 bias" in said


def test_calls_wait_where_many_compute(twin, monkeypatch):
    monkeypatch.setattr(cuda_engine, "CONTEXTS", 2)
    checkpoint = tiny()
    engine = CudaEngine(checkpoint, dtype="float32")
    made, plain = [], cuda_library.Library.context

    def counted(library, *arguments):
        made.append(arguments)
        return plain(library, *arguments)

    monkeypatch.setattr(cuda_library.Library, "context", counted)
    wrong = []
    threads = [threading.Thread(target=lambda seed=seed: wrong.extend(
        [] if right(engine, checkpoint, seed=seed) else [seed])) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and 1 <= len(made) <= 2
    fail(twin, "cudaMalloc", 1, MEMORY)
    with pytest.raises(DeviceError, match="out of memory"):
        engine.forward(*reference.batch(checkpoint.config, [130] * 20))
    assert right(engine, checkpoint)  # a context that could not be made leaves its place


def test_a_weight_that_float16_does_not_have(twin):
    checkpoint = tiny()
    name = "bert.encoder.transformer_cells.1.ffn.ffn_2.weight"
    checkpoint.params[name] = checkpoint.params[name].copy()
    checkpoint.params[name][3, 5] = -65536
    with pytest.raises(ModelError, match=f"'{name}' has the number -65536.* use dtype='bfloat16'"):
        CudaEngine(checkpoint, dtype="float16")
    CudaEngine(checkpoint, dtype="bfloat16")


def test_cublaslt_of_pip_beside_the_library(twin, library_path, tmp_path, monkeypatch):
    """Where no path is named and the loader has none: the folder in which pip puts it, from the library's own."""
    (tmp_path / "bertpass").mkdir()
    own = shutil.copy(library_path, tmp_path / "bertpass" / "libbertpass_cuda.so")
    theirs = tmp_path / "nvidia" / "cu13" / "lib" / "libcublasLt.so.13"
    monkeypatch.setenv("BERTPASS_CUDA", str(own))
    monkeypatch.setattr(cuda_library, "cublaslt", lambda: None)
    checkpoint = tiny(num_layers=1)
    with pytest.raises(DeviceError, match="cuBLASLt is not there; install it with"):
        CudaEngine(checkpoint)
    theirs.parent.mkdir(parents=True)
    shutil.copy(library_path, theirs)
    engine = CudaEngine(checkpoint, dtype="float32")
    assert right(engine, checkpoint)
