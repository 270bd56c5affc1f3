"""int8 by MXNet's own oneDNN path: what is quantised, how near it is, and the same outputs after reading it again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bertpass import passes
from bertpass.engines.frameworks.mxnet_engine import MXNetEngine
from bertpass.errors import PassError
from bertpass.passes.optimize import write_pair
from bertpass.passes.quantize import MODES, candidates, quantize, quantized_nodes
from tests.helpers import ROOT
from tests.helpers.pass_models import PARITY, Model, build, run


@pytest.fixture(scope="module")
def model() -> Model:
    plain = build(PARITY["minilm"])
    text, params, _ = passes.optimize_graph(plain.symbol, plain.params, ["remove_noops", "interleave_qkv"])
    return Model(text, params, plain.inputs)


def batches(model: Model) -> list[dict[str, np.ndarray]]:
    """Two batches of other shapes."""
    made = []
    for seed, (rows, length) in enumerate(((8, 14), (5, 20))):
        random = np.random.default_rng(seed)
        made.append({"ids": random.integers(0, 40, (rows, length)), "types": random.integers(0, 2, (rows, length)),
                     "valid": random.integers(2, length + 1, rows)})
    return [{name: value.astype("float32") for name, value in batch.items()} for batch in made]


def error(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("dtype", ["auto", "int8"])
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "none"])
def test_every_dense_layer_in_every_mode(mode: str, dtype: str, model: Model) -> None:
    text, params = quantize(model.symbol, model.params, batches(model), mode, dtype)
    names = candidates(model.symbol, dtype)
    assert len(names) == 2 * (5 if dtype == "int8" else 6) + 1, "dense layers and attention's products, and the pooler"
    assert quantized_nodes(text) == ["quantized_" + name for name in names]
    found, wanted = run(text, params, model.inputs), run(model.symbol, model.params, model.inputs)
    assert 0 < error(found[:1], wanted[:1]) <= 0.2


def test_what_is_skipped_stays_in_float32(model: Model) -> None:
    names = candidates(model.symbol)
    text, params = quantize(model.symbol, model.params, batches(model), "naive", skip=names)
    assert quantized_nodes(text) == []
    assert error(run(text, params, model.inputs), run(model.symbol, model.params, model.inputs)) <= 1e-5
    some, _ = quantize(model.symbol, model.params, batches(model), "naive", skip=names[:5])
    every, _ = quantize(model.symbol, model.params, batches(model), "naive")
    assert len(quantized_nodes(every)) - len(quantized_nodes(some)) == 5


def test_the_same_after_reading_it_in_a_process_of_its_own(model: Model, tmp_path: Path) -> None:
    text, params = quantize(model.symbol, model.params, batches(model))
    write_pair(tmp_path / "model", text, {f"arg:{name}": value for name, value in params.items()})
    np.savez(tmp_path / "in.npz", **model.inputs)
    script = ("import sys, numpy as np\nfrom bertpass.engines.frameworks.mxnet_engine import MXNetEngine\n"
              "feed = np.load(sys.argv[2])\nengine = MXNetEngine.from_files(sys.argv[1], list(feed.files))\n"
              "np.savez(sys.argv[3], *engine.forward(*(feed[name] for name in feed.files)))\n"
              "print(engine.describe()['dtype'])")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, tmp_path / "model", tmp_path / "in.npz",
                           tmp_path / "out.npz"], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0 and done.stdout.strip() == "int8", done.stderr
    engine = MXNetEngine(text, params, list(model.inputs))
    saved = np.load(tmp_path / "out.npz")
    for key, output in zip(sorted(saved.files), engine.forward(*model.inputs.values()), strict=True):
        assert np.array_equal(saved[key], output)


def test_bytes_without_a_sign_are_refused(model: Model) -> None:
    with pytest.raises(PassError, match="negative values"):
        quantize(model.symbol, model.params, batches(model), "naive", "uint8")


def test_none_is_refused(model: Model) -> None:
    with pytest.raises(PassError, match="needs ranges that were calibrated"):
        quantize(model.symbol, model.params, batches(model), "none")
