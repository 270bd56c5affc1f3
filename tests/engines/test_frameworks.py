"""The peers as engines: every family and head against float64 in NumPy, and their errors.

Relative L2 errors measured on these tiny models: float32 2e-6, float16 2e-3, bfloat16 6e-2 (OpenVINO, one regression
output; token states 1e-2), int8 1.2e-1 (ONNX Runtime, one regression output; token states 3e-2).
"""

import importlib

import numpy as np
import pytest

import bertpass
from bertpass.engines import ENGINES
from bertpass.errors import DeviceError, MissingDependencyError, UsageError
from bertpass.extras import require
from bertpass.model.layouts import huggingface
from tests.helpers import reference

EXTRAS = {"onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino", "onnx"), "torch": ("torch",),
          "tensorflow": ("tensorflow",), "tvm": ("tvm",)}
BOUND = {"float32": 1e-5, "float16": 1e-2, "bfloat16": 1e-1, "int8": 2e-1}
CASES = [("onnxruntime", "float32"), ("onnxruntime", "float16"), ("onnxruntime", "int8"), ("openvino", "float32"),
         ("openvino", "bfloat16"), ("torch", "float32"), ("torch", "bfloat16")]
LENGTHS = [9, 1, 4, 12]


def make(engine, checkpoint, **options):
    for package in EXTRAS[engine]:
        pytest.importorskip(package, reason=f"pip install '.[{engine}]' to test this engine")
    module = importlib.import_module(ENGINES[engine])
    try:
        return module.from_checkpoint(checkpoint, threads=1, **options)
    except DeviceError as error:
        pytest.skip(f"{error} Run this test on a processor that has it.")


def agrees(engine, checkpoint, bound, lengths=LENGTHS, padded=None):
    batch = reference.batch(checkpoint.config, lengths, padded)
    found, expected = engine.forward(*batch), reference.outputs(checkpoint, *batch)
    assert [a.shape for a in found] == [a.shape for a in expected]
    for got, wanted in zip(found, expected, strict=True):
        assert got.dtype == np.float32
        assert np.linalg.norm(got - wanted) <= bound * np.linalg.norm(wanted)


@pytest.mark.parametrize(("name", "dtype"), CASES)
@pytest.mark.parametrize(("family", "heads"), [
    ("bert", ("pooled", "qa", "tokens", "classification", "mean_norm", "cls_norm")),
    ("distilbert", ("none", "qa", "classification", "mean")),
    ("roberta", ("none", "regression", "ranking", "mean_norm")), ("xlm-roberta", ("classification",)),
    ("camembert", ("tokens",))])
def test_parity(name, dtype, family, heads):
    for head in heads:
        checkpoint = reference.tiny(family, head)
        engine = make(name, checkpoint, dtype=dtype)
        agrees(engine, checkpoint, BOUND[dtype])
        about = engine.describe()
        assert (about["engine"], about["dtype"], about["threads"]) == (name, dtype, 1)
        engine.close()


@pytest.mark.parametrize(("name", "dtype"), [("onnxruntime", "float32"), ("openvino", "float32"), ("torch", "float32")])
def test_shapes_change_from_call_to_call(name, dtype):
    checkpoint = reference.tiny("bert", "none")
    engine = make(name, checkpoint, dtype=dtype)
    for lengths, padded in (([1], 1), ([5, 5], None), ([40], 40), ([3, 1], 9)):
        agrees(engine, checkpoint, BOUND[dtype], lengths, padded)


def test_onnxruntime_runs_its_own_operators():
    about = make("onnxruntime", reference.tiny("bert", "none")).describe()
    layers = reference.SIZES["num_layers"]
    found = {op: about["operators"].get(op) for op in ("EmbedLayerNormalization", "Attention", "BiasGelu",
                                                       "SkipLayerNormalization", "MatMul", "Softmax")}
    assert found == {"EmbedLayerNormalization": 1, "Attention": layers, "BiasGelu": layers,
                     "SkipLayerNormalization": 2 * layers, "MatMul": 3 * layers, "Softmax": None}


def test_onnxruntime_devices(monkeypatch):
    checkpoint = reference.tiny("bert", "none")
    runtime = pytest.importorskip("onnxruntime", reason="pip install '.[onnxruntime]' to test this engine")
    with pytest.raises(UsageError, match=r"device of the onnxruntime engine 'gpu'\. Did you mean 'cpu'"):
        make("onnxruntime", checkpoint, device="gpu")
    with pytest.raises(UsageError, match="int8 of the onnxruntime engine is for the CPU"):
        make("onnxruntime", checkpoint, device="cuda", dtype="int8")
    module = importlib.import_module(ENGINES["onnxruntime"])
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        with pytest.raises(DeviceError, match=r"cannot use cuda here, it has .*CPUExecutionProvider"):
            module.from_checkpoint(checkpoint, device="cuda", threads=1)
    # a build for GPUs where CUDA does not start: a session goes on with the CPU alone
    monkeypatch.setattr(runtime, "get_available_providers", lambda: list(module.DEVICES.values()))
    real = runtime.InferenceSession
    monkeypatch.setattr(runtime, "InferenceSession", lambda content, options, providers: real(
        content, options, providers=providers[1:]))
    with pytest.raises(DeviceError, match="cannot use cuda here, it has CPUExecutionProvider"):
        module.from_checkpoint(checkpoint, device="cuda", threads=1)


def test_openvino_int8():
    pytest.importorskip("nncf", reason="pip install '.[openvino]' to quantise for OpenVINO")
    checkpoint = reference.tiny("bert", "none")
    batches = [reference.batch(checkpoint.config, [length], seed=length) for length in range(4, 20)]
    agrees(make("openvino", checkpoint, dtype="int8", calibration=batches), checkpoint, BOUND["int8"])


def test_openvino_int8_needs_text():
    checkpoint = reference.tiny("bert", "none")
    with pytest.raises(UsageError, match="calibration="):
        make("openvino", checkpoint, dtype="int8")
    with pytest.raises(UsageError, match="for int8 only"):
        make("openvino", checkpoint, calibration=[reference.batch(checkpoint.config, [4])])


@pytest.mark.slow
def test_torch_compiled():
    checkpoint = reference.tiny("bert", "none")
    engine = make("torch", checkpoint, mode="compile")
    agrees(engine, checkpoint, BOUND["float32"])
    agrees(engine, checkpoint, BOUND["float32"], [6, 6])


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_torchscript_takes_any_shape(family):
    checkpoint = reference.tiny(family, "mean_norm")
    for dtype in ("float32", "bfloat16"):
        engine = make("torch", checkpoint, mode="script", dtype=dtype)
        for lengths, padded in ((LENGTHS, None), ([1], 1), ([6, 6], None), ([40], 40), ([3, 1], 9)):
            agrees(engine, checkpoint, BOUND[dtype], lengths, padded)


def test_torch_mode():
    with pytest.raises(UsageError, match=r"mode of the torch engine.*Did you mean 'script'"):
        make("torch", reference.tiny("bert", "none"), mode="scripted")


def test_torch_compiled_needs_a_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(MissingDependencyError, match="compiler"):
        make("torch", reference.tiny("bert", "none"), mode="compile")


@pytest.mark.parametrize("name", sorted(EXTRAS))
def test_bad_options(name):
    checkpoint = reference.tiny("bert", "none")
    with pytest.raises(UsageError, match="dtype of the"):
        make(name, checkpoint, dtype="float8")
    module = importlib.import_module(ENGINES[name])
    for threads in (0, True, "2"):
        with pytest.raises(UsageError, match="threads"):
            module.from_checkpoint(checkpoint, threads=threads)


@pytest.mark.parametrize("name", sorted(EXTRAS))
def test_a_missing_package_names_its_extra(name, monkeypatch):
    def missing(module):
        raise ModuleNotFoundError(f"No module named '{module}'")

    module = importlib.import_module(ENGINES[name])
    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(MissingDependencyError, match=rf"is not installed.*\.\[{name}\]"):
        module.from_checkpoint(reference.tiny("bert", "none"))


def test_a_package_that_does_not_load_says_why(monkeypatch):
    def broken(module):
        raise OSError("libsomething.so: cannot open")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(MissingDependencyError, match=r"torch does not load \(libsomething"):
        require("torch", "torch")


def test_through_load(tmp_path):
    pytest.importorskip("onnxruntime", reason="pip install '.[onnxruntime]' to test this engine")
    huggingface.write_folder(tmp_path / "tiny", reference.tiny("bert", "none"))
    native = bertpass.load(str(tmp_path / "tiny"), engine="native", dtype="float32", threads=1)
    peer = bertpass.load(str(tmp_path / "tiny"), engine="onnxruntime", threads=1)
    ids = [[1, 2, 3, 4]]
    assert np.abs(native.forward(ids)[0] - peer.forward(ids)[0]).max() <= 1e-4
