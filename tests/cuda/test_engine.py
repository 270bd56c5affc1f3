"""engine="cuda", on its twin unless conftest.py says otherwise: models against NumPy in float64, threads, errors.

Largest relative L2 errors measured on these tiny models, on the twin: float32 8e-7, float16 1.4e-3, bfloat16 1.3e-2;
of token states 5e-7, 1.2e-3 and 1e-2.
"""

import json
import threading

import numpy as np
import pytest

import bertpass
from bertpass.engines.cuda import dlpack
from bertpass.engines.cuda import library as cuda_library
from bertpass.engines.cuda.engine import DTYPES, CudaEngine
from bertpass.errors import DeviceError, MissingDependencyError, ModelError, UsageError
from bertpass.model.layouts import huggingface
from tests.helpers import reference
from tests.helpers.against_transformers import SUFFIXES, TOLERANCE, largest, long_batch, outputs
from tests.helpers.tiny_models import PAD, torch_model

BOUND = {"float32": 1e-5, "float16": 1e-2, "bfloat16": 5e-2}
SIZES = {"units": 64, "hidden_size": 48, "num_heads": 2, "max_length": 130, "num_layers": 2}
LENGTHS = [9, 1, 4, 12]
#: widths of embeddings that the kernels take, and a window that leaves out keys of the rows of LENGTHS
FIELDS = {"electra": {"embedding_size": 24}, "albert": {"embedding_size": 24}, "modernbert": {"num_layers": 3}}


@pytest.fixture(autouse=True)
def under_test(library_path, cublaslt, monkeypatch, tmp_path):
    monkeypatch.setenv("BERTPASS_CUDA", str(library_path))
    if cublaslt:
        monkeypatch.setenv("BERTPASS_CUBLASLT", cublaslt)
    monkeypatch.setenv("BERTPASS_CUDA_MEASUREMENTS", str(tmp_path / "measured" / "algorithms.json"))


def tiny(family="bert", head="none", **fields):
    return reference.tiny(family, head, **{**SIZES, **fields})


def agrees(engine, checkpoint, dtype, lengths=LENGTHS, padded=None):
    batch = reference.batch(checkpoint.config, lengths, padded)
    found, wanted = engine.forward(*batch), reference.outputs(checkpoint, *batch)
    assert [a.shape for a in found] == [a.shape for a in wanted] and all(a.dtype == np.float32 for a in found)
    for got, right in zip(found, wanted, strict=True):
        assert np.linalg.norm(got - right) <= BOUND[dtype] * np.linalg.norm(right)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("family", "heads"), [
    ("bert", ("none", "pooled", "qa", "tokens", "classification", "mean", "mean_norm", "cls_norm")),
    ("distilbert", ("none", "qa", "classification", "mean")),
    ("roberta", ("pooled", "regression", "ranking", "mean_norm")), ("xlm-roberta", ("classification",)),
    ("camembert", ("tokens",)), ("electra", ("none", "classification", "tokens")),
    ("albert", ("none", "classification", "qa")), ("mpnet", ("none", "classification", "mean_norm")),
    ("modernbert", ("none", "classification", "mean")), ("nomic_bert", ("none", "qa", "mean_norm")),
    ("new", ("none", "classification", "tokens")), ("jina_bert", ("none", "regression", "mean"))])
def test_parity(family, heads, dtype):
    for head in heads:
        checkpoint = tiny(family, head, **FIELDS.get(family, {}))
        engine = CudaEngine(checkpoint, dtype=dtype)
        agrees(engine, checkpoint, dtype, padded=14)
        about = engine.describe()
        assert (about["engine"], about["dtype"]) == ("cuda", dtype) and about["device"]
        engine.close()


@pytest.mark.parametrize("family, fields", [
    ("xlm-roberta", {}), ("camembert", {}), ("electra", {"embedding_size": 24}), ("electra", {"embedding_size": 96}),
    ("mpnet", {}), ("albert", {"embedding_size": 24}), ("modernbert", {"local_attention": 70})], ids=str)
def test_against_transformers(tmp_path, family, fields):
    """float32, as near as transformers' own is to float64, from folders of random weights and biases, with rows that
    are longer than a tile and than a window; an ELECTRA generator has embeddings wider than its layers."""
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 2, "max_position_embeddings": 180}
    batch = tuple(array[:3] for array in long_batch(PAD[family]))
    for suffix, more in SUFFIXES.items():
        if family == "modernbert" and suffix in ("ForTokenClassification", "ForQuestionAnswering"):
            continue
        theirs = torch_model(family, suffix, **sizes, **fields, **more)
        theirs.save_pretrained(tmp_path / suffix)
        with bertpass.load(tmp_path / suffix, "cuda", dtype="float32") as model:
            assert model.config.family == family
            found = model.forward(*batch)[0]
        single = outputs(theirs, family, suffix, batch)
        wanted = outputs(theirs.double(), family, suffix, batch)
        own = largest(single, wanted, batch[2])  # what transformers loses in float32
        assert largest(found, wanted, batch[2]) <= TOLERANCE * max(1, np.abs(wanted).max()) + 1.5 * own, suffix


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("family, fields", [("mpnet", {}), ("jina_bert", {}), ("modernbert", {"window": 40}),
                                            ("modernbert", {"window": 1})], ids=str)
def test_long_rows(family, fields, dtype):
    """Distances and windows over several tiles of keys, with whole tiles outside of a query's window."""
    checkpoint = tiny(family, **FIELDS.get(family, {}), **fields)
    agrees(CudaEngine(checkpoint, dtype=dtype), checkpoint, dtype, [130, 65, 3], 130)


def test_layers_that_share_their_weights_are_one(monkeypatch):
    sizes = []
    for layers in (2, 8):
        engine = CudaEngine(tiny("albert", num_layers=layers, embedding_size=24), dtype="float32")
        sizes.append(engine.describe()["weights_mib"])
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "gelu_tanh", "gelu", "silu"])
@pytest.mark.parametrize("exact_gelu", [False, True])
def test_activations(activation, dtype, exact_gelu):
    checkpoint = tiny(num_layers=1, activation=activation)
    agrees(CudaEngine(checkpoint, dtype=dtype, exact_gelu=exact_gelu), checkpoint, dtype)


@pytest.mark.parametrize("graphs", [True, False])
def test_sizes_change_from_call_to_call(graphs):
    checkpoint = tiny()
    engine = CudaEngine(checkpoint, dtype="float32", graphs=graphs)
    for lengths, padded in (([1], 1), ([5, 5], None), ([130], 130), ([3, 1], 9), ([5, 5], 7), ([17] * 12, 90)):
        agrees(engine, checkpoint, "float32", lengths, padded)


def test_a_row_is_the_same_in_any_batch(on_gpu):
    """Bit by bit on the twin; on a GPU products of another size may take another algorithm."""
    checkpoint = tiny()
    engine = CudaEngine(checkpoint, dtype="float16")
    ids, types, lengths = reference.batch(checkpoint.config, LENGTHS, 14)
    together = engine.forward(ids, types, lengths)[0]
    for row in range(len(ids)):
        alone = engine.forward(ids[row:row + 1], types[row:row + 1], lengths[row:row + 1])[0][0]
        assert np.abs(alone - together[row]).max() <= (0.02 if on_gpu else 0)


def test_many_threads(on_gpu):
    checkpoint = tiny()
    engine = CudaEngine(checkpoint, dtype="float16")
    batches = [reference.batch(checkpoint.config, [seed + 1, 7], seed=seed) for seed in range(4)]
    wanted = [engine.forward(*batch)[0] for batch in batches]
    wrong = []

    def work(number):
        for turn in range(3):
            at = (number + turn) % len(batches)
            if np.abs(engine.forward(*batches[at])[0] - wanted[at]).max() > (0.02 if on_gpu else 0):
                wrong.append(at)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_measurements_are_kept(on_gpu):
    if on_gpu:
        pytest.skip("what is measured on a GPU differs: run without BERTPASS_CUDA_TEST to test the file")
    file = cuda_library.measurements()
    checkpoint = tiny()
    agrees(CudaEngine(checkpoint, dtype="float16"), checkpoint, "float16")
    kept = json.loads(file.read_text(encoding="utf-8"))
    # 26 tokens are computed as 32 rows; twins propose two algorithms and number them
    assert set(kept) == {"format", *(f"twin of a GPU of 4, driver 0, cuBLASLt 0 float16 32x{shape}" for shape in (
        "192x64 bias", "64x64 bias residual", "48x64 bias gelu_tanh", "64x48 bias residual"))}
    assert all(entry["milliseconds"] > 0 for name, entry in kept.items() if name != "format")
    before = file.read_bytes()
    agrees(CudaEngine(checkpoint, dtype="float16"), checkpoint, "float16")  # takes what is there
    assert file.read_bytes() == before
    file.write_text(before.decode().replace("00000000000000b5", "0000000000000077").replace(
        "00000000000000b6", "0000000000000077"), encoding="utf-8")  # of another cuBLASLt: measured again
    agrees(CudaEngine(checkpoint, dtype="float16"), checkpoint, "float16")
    assert "0077" not in file.read_text(encoding="utf-8")
    file.write_text("no JSON at all", encoding="utf-8")
    agrees(CudaEngine(checkpoint, dtype="float16"), checkpoint, "float16")
    assert set(json.loads(file.read_text(encoding="utf-8"))) == set(kept)


def test_without_measuring_nothing_is_written():
    checkpoint = tiny()
    agrees(CudaEngine(checkpoint, dtype="float16", measure=False), checkpoint, "float16")
    assert not cuda_library.measurements().exists()


def test_through_load(tmp_path):
    pytest.importorskip("bertpass._native", reason="build the native engine: python setup.py build_ext --inplace")
    huggingface.write_folder(tmp_path / "tiny", tiny("bert", "none"))
    native = bertpass.load(str(tmp_path / "tiny"), engine="native", dtype="float32", threads=1)
    cuda = bertpass.load(str(tmp_path / "tiny"), engine="cuda", dtype="float32")
    ids = [[1, 2, 3, 4]]
    assert np.abs(native.forward(ids)[0] - cuda.forward(ids)[0]).max() <= 1e-4


def test_tensors_by_dlpack(on_gpu):
    torch = pytest.importorskip("torch", reason="pip install '.[reference]' to test tensors of PyTorch")
    checkpoint = tiny("bert", "pooled")
    engine = CudaEngine(checkpoint, dtype="float32")
    ids, types, lengths = reference.batch(checkpoint.config, LENGTHS, 14)
    wanted = engine.forward(ids, types, lengths)
    device = "cuda" if on_gpu else "cpu"
    on_device = [torch.from_numpy(array).to(device) for array in (ids, types)]
    found = engine.forward_device(on_device[0], lengths, on_device[1])
    assert all(np.allclose(f.cpu().numpy(), w, atol=1e-5) for f, w in zip(found, wanted, strict=True))
    outputs = [torch.full(w.shape, float("nan"), device=device) for w in wanted]
    assert engine.forward_device(on_device[0], lengths, None, outputs)[0] is outputs[0]
    without = engine.forward(ids, np.zeros_like(types), lengths)
    assert all(np.allclose(o.cpu().numpy(), w, atol=1e-5) for o, w in zip(outputs, without, strict=True))


def test_tensors_of_numpy(on_gpu):
    if on_gpu:
        pytest.skip("NumPy has no tensors on a GPU: run without BERTPASS_CUDA_TEST to test other makers of DLPack")
    checkpoint = tiny()
    engine = CudaEngine(checkpoint, dtype="float32")
    batch = reference.batch(checkpoint.config, LENGTHS, 14)
    out = np.full((4, 14, 64), np.nan, np.float32)
    engine.forward_device(batch[0], batch[2], batch[1], [out])
    assert (out == engine.forward(*batch)[0]).all()


def test_tensors_that_do_not_fit(on_gpu):  # all are refused before anything is started
    def placed(array):
        return pytest.importorskip("torch").from_numpy(array).cuda() if on_gpu else array

    class OnTheGpu:
        def __array__(self, *_):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")

    checkpoint = tiny()
    engine = CudaEngine(checkpoint, dtype="float32")
    ids, types, lengths = reference.batch(checkpoint.config, LENGTHS, 14)
    as_list, wide, cut = ids.tolist(), placed(ids.astype(np.int64)), placed(types[:, :13].copy())
    ids, types, out = placed(ids), placed(types), [placed(np.zeros((4, 14, 64), np.float32))]
    unaligned = placed(np.zeros(4 * 14 * 64 + 1, np.float32))[1:].reshape(4, 14, 64)
    for arguments, what in (
            ((as_list, lengths, types, out), "input_ids must be a tensor with DLPack"),
            ((wide, lengths, types, out), "input_ids must be int32 with 2 axes"),
            ((ids[:, ::2], lengths, None, out), "input_ids must be contiguous"),
            ((ids, lengths, cut, out), "token_types must have the shape"),
            ((ids, OnTheGpu(), types, out), "valid_length must be numbers on the host"),
            ((ids, lengths, types, [unaligned]), "an output must begin on an address that 16 divides"),
            ((ids, lengths[:2], types, out), "valid_length must have the shape"),
            ((ids, lengths - 2, types, out), "valid_length must be from 0 to 14, not -1"),
            *([] if on_gpu else [((ids, lengths, types, None), "give outputs")]),
            ((ids, lengths, types, [out[0][:2]]), "an output must have the shape")):
        with pytest.raises(UsageError, match=what):
            engine.forward_device(*arguments)
    engine._place = (dlpack.CPU if on_gpu else dlpack.CUDA, 0)  # another place than the tensors'
    with pytest.raises(UsageError, match="input_ids must be on GPU 0, where this engine is; move it there first"):
        engine.forward_device(ids, lengths, types, out)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_without_tokens(dtype):
    """Zeros where the states are asked for; a head needs a first token."""
    checkpoint = tiny()
    ids, types, lengths = reference.batch(checkpoint.config, LENGTHS, 14)
    for empty in ([0], [0, 2], range(len(lengths))):
        fewer = lengths.copy()
        fewer[list(empty)] = 0
        engine = CudaEngine(checkpoint, dtype=dtype)
        wanted = engine.forward(ids, types, lengths)[0]
        found = engine.forward(ids, types, fewer)[0]
        for row, length in enumerate(fewer):
            right = wanted[row] if length else np.zeros_like(found[row])
            assert np.linalg.norm(found[row] - right) <= BOUND[dtype] * np.linalg.norm(right)
    engine = CudaEngine(tiny(head="classification"), dtype=dtype)
    with pytest.raises(UsageError, match="valid_length must be from 1 to 14, not 0"):
        engine.forward(ids, types, fewer)


def test_bad_batches():
    checkpoint = tiny()
    engine = CudaEngine(checkpoint, dtype="float32")
    ids, types, lengths = reference.batch(checkpoint.config, LENGTHS, 14)
    for arguments, what in (((ids + 61, types, lengths), "input_ids must be from 0 to 60"),
                            ((ids, types + 2, lengths), "token_types must be from 0 to 1"),
                            ((ids, types, lengths + 3), "valid_length must be from 0 to 14, not 15"),
                            ((ids, types[:2], lengths), "must have one shape"),
                            ((np.zeros((1, 131), int), np.zeros((1, 131), int), np.array([131])), "130 positions")):
        with pytest.raises(UsageError, match=what):
            engine.forward(*arguments)
    agrees(engine, checkpoint, "float32")  # and goes on working
    engine.close()
    with pytest.raises(UsageError, match="closed"):
        engine.forward(ids, types, lengths)


def test_models_that_its_kernels_cannot_compute():
    for fields, what in (({"units": 48}, "heads of 32, 64, 96 and 128, not of 24"),
                         ({"hidden_size": 50}, "a hidden size that 8 divides"),
                         ({"units": 2112, "num_heads": 33}, "units up to 2048"),
                         ({"family": "electra"}, "embeddings of a width up to 2048 that 8 divides, not 20")):
        with pytest.raises(DeviceError, match=what):
            CudaEngine(tiny(num_layers=1, **fields))
    for family, head, error, what in (
            ("deberta-v2", "none", ModelError, "the CUDA engine has no attention with embeddings of distances, which"),
            ("modernbert", "tokens", DeviceError, "cannot compute the layer 'classifier.1' of this head"),
            ("bert", "mlm", DeviceError, "cannot compute the layer 'decoder.0' of this head")):
        with pytest.raises(error, match=what):
            CudaEngine(tiny(family, head))
    with pytest.raises(DeviceError, match="there is no GPU 3; this machine has"):
        CudaEngine(tiny(), device=3)
    for device in (-1, True, "0"):
        with pytest.raises(UsageError, match="number of a GPU"):
            CudaEngine(tiny(), device=device)
    with pytest.raises(UsageError, match="dtype of the cuda engine"):
        CudaEngine(tiny(), dtype="int8")
    checkpoint = tiny()
    del checkpoint.params["bert.encoder.transformer_cells.1.proj.bias"]
    with pytest.raises(ModelError, match=r"transformer_cells\.1\.proj\.bias"):
        CudaEngine(checkpoint)


def test_a_library_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("BERTPASS_CUDA", str(tmp_path / "missing.so"))
    with pytest.raises(MissingDependencyError, match=r"not built.*make cuda"):
        CudaEngine(tiny())
    (tmp_path / "text.so").write_text("no library")
    monkeypatch.setenv("BERTPASS_CUDA", str(tmp_path / "text.so"))
    with pytest.raises(MissingDependencyError, match="does not load"):
        CudaEngine(tiny())


def test_cublaslt_that_is_not_there(monkeypatch):
    monkeypatch.setenv("BERTPASS_CUBLASLT", "/no/such/libcublasLt.so.13")
    with pytest.raises(DeviceError, match="cuBLASLt cannot be loaded"):
        CudaEngine(tiny())


def test_working_memory_is_that_of_the_tokens():
    library = cuda_library.library()
    model = CudaEngine(tiny(units=768, hidden_size=3072, num_heads=12, num_layers=1), dtype="float16").model
    few, many = (library.workspace_bytes(model, 8, tokens) for tokens in (1024, 16 * 1024))
    assert 10_500 <= (many - few) / (15 * 1024) <= 10_900  # seven rows of units and what an input takes
