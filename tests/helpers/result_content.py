"""Small result files of every bench, as the benches write them."""

import json

MACHINE = {"cpu": "Some CPU", "cpus_usable": 2, "memory_gib": 4.0, "os": "Linux", "python": "3.11"}
ENVIRONMENT = {"command": "bertpass bench x --model 'a <b>'", "revision": "abc", "machine": MACHINE,
               "versions": {"numpy": "1.26.4"}, "instruction_set": "avx2", "threads": 2, "cpus": [0, 1]}


def timing(median, spread=0.05):
    return {"median_ms": median, "p10_ms": round(median * (1 - spread), 3), "p90_ms": round(median * (1 + spread), 3),
            "spread": 2 * spread, "noisy": spread > 0.1, "rounds": 5, "calls": 9}


def engine(name, ours, error, times, failure=None):
    precision = name.rpartition("-")[2]
    return {"name": name, "engine": name.split("-")[0], "precision": precision if "-" in name else "float32",
            "ours": ours, "options": {}, "relative_error": error, "largest_error": error, "failure": failure,
            "timings": {work: timing(ms) for work, ms in times.items()}}


def cpu():
    works = [("1x64", "1x64", "", [64]), ("1x128", "1x128", "", [128]), ("8x128", "8x128", "", [128] * 8),
             ("sst longest", "sst", "longest", [3, 5]), ("sst groups", "sst", "groups", [3, 5])]
    names = [work[0] for work in works]
    native, int8, torch = (dict(zip(names, times, strict=True)) for times in (
        (4.0, 7.9, 61.0, 30.0, 29.0), (1.5, 2.51, 20.9, 12.5, 14.0), (8.0, 16.3, 120.7, 70.0, 75.0)))
    engines = [engine("native-float32", True, 1.3e-6, native), engine("native-int8", True, 4.2e-2, int8),
               engine("torch-float32", False, 0.0, torch),
               engine("openvino-float32", False, None, {}, "it <broke>.")]
    return {"environment": ENVIRONMENT, "models": [{
        "model": "tiny <b>&", "source": "random", "others_load": 0.0, "reference": "torch-float32", "engines": engines,
        "workloads": [{"name": n, "family": f, "layout": layout, "lengths": lengths}
                      for n, f, layout, lengths in works],
    }]}


def scaling():
    cells = [{"engine": name, "instances": n, "cores": 2 // n, "rows": rows, "length": 128, **timing(ms * n),
              "instance_medians_ms": [ms * n] * n, "sequences_per_second": round(rows * 1000 / ms * 1.1, 2)}
             for name, ms in (("native-float32", 9.7), ("torch-float32", 20.3)) for n in (1, 2) for rows in (1, 4)]
    return {"environment": {**ENVIRONMENT, "topology": "2 cores"}, "scaling": [{
        "model": "tiny", "source": "random", "others_load": 0.0, "shapes": ["1x128", "4x128"], "cells": cells,
        "engines": [engine("native-float32", True, 2e-6, {}), engine("torch-float32", False, 0.0, {})],
        "failures": [{"engine": "torch-float32", "instances": 8, "cores": 1, "failure": "killed."}]}]}


def passes():
    def variant(name, ms):
        return {"name": name, "rewrites": 2, "difference": 1e-6, "ratio": {},
                "latency": {"1 x 128": {"count": 9, "mean": ms, "p50": ms, "p90": ms * 1.125, "p99": ms * 2,
                                        "least": ms / 2}}}
    return {"command": "bertpass bench passes", "model": "random weights", "threads": 2, "machine": MACHINE,
            "variants": [variant("no pass", 24.0), variant("interleave_qkv", 22.1)]}


def finetuning():
    def side(speed, accuracy):
        return {"samples_per_second": speed, "metrics": {"accuracy": accuracy}, "epoch": 1, "history": []}
    return {"environment": ENVIRONMENT, "runs": [{
        "task": "SST", "main_metric": "accuracy", "model": "minilm", "seed": seed, "settings": {},
        "ours": side(50.25 + seed, 0.8875), "control": side(30.5, 0.885)} for seed in (2, 3)]}


def written(folder, **contents):
    """The files' paths, in the order of the arguments, each named after its argument."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return [str(folder / f"{name}.json") for name in contents]
