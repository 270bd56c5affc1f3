#!/usr/bin/env python
"""bertpass beside the backends of sentence-transformers: ``encode`` of one set of texts, interleaved.

Each contender has a process of its own, and all of them take turns, batch after batch. The folder has to hold what the
backends load: sentence-transformers' export_dynamic_quantized_onnx_model writes the ONNX file in int8, nncf.quantize
the OpenVINO model. These packages may be in another Python (``--python``).

The error is that of the vectors: L2 norm of the difference from sentence-transformers with PyTorch over its norm.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from bertpass import machine
from bertpass.commands.run import guarded
from bertpass.errors import UsageError
from bertpass.options import flag, parse
from bertpass.text.data.readers import read_task_file
from bertpass.text.data.tasks import find_split, get_task

REFERENCE = "torch"
#: of sentence-transformers: backend and the file in the folder
BACKENDS = {REFERENCE: ("torch", ""), "onnx": ("onnx", "onnx/model.onnx"),
            "onnx-int8": ("onnx", "onnx/model_quint8_avx2.onnx"),
            "openvino": ("openvino", "openvino/openvino_model.xml"),
            "openvino-int8": ("openvino", "openvino/openvino_model_qint8_quantized.xml")}
OURS = ("float32", "bfloat16", "int8")


@dataclass
class BackendsOptions:
    """Flags of benchmarks/embedding_backends.py."""

    model: str = flag("mpnet", "folder of sentence-transformers that also holds the other backends' files")
    data_dir: str | None = flag(os.environ.get("BERTPASS_DATA"), "folder with STS-B")
    contenders: list[str] = flag([*BACKENDS, "float32", "int8"], f"{', '.join(BACKENDS)}: of sentence-transformers; "
                                 f"{', '.join(OURS)}: of the native engine")
    python: str = flag(sys.executable, "Python with sentence-transformers and its backends")
    rounds: int = flag(7, "interleaved rounds", least=1)
    threads: int | None = flag(None, "threads of each contender (default: as bertpass.machine counts them)")


def main(argv: Sequence[str]) -> int:
    if argv[:1] == ["--contender"]:
        return contend(*argv[1:])
    return guarded(lambda: run(parse(BackendsOptions, argv, "bertpass beside sentence-transformers' backends.")))


def contend(name: str, model: str, threads: str) -> int:
    """The process of one contender: a line of JSON with texts in, one with seconds and vectors out."""
    if name in BACKENDS:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(int(threads))
        backend, file = BACKENDS[name]
        more: dict[str, Any] = {"file_name": file} if file else {}
        encoder: Any = SentenceTransformer(model, backend=backend, model_kwargs=more, device="cpu")
    else:
        import bertpass

        encoder = bertpass.SentenceEncoder(model, dtype=name, threads=int(threads))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    print("{}", file=out, flush=True)
    for line in sys.stdin:
        texts = json.loads(line)
        start = time.perf_counter()
        vectors = encoder.encode(texts, show_progress_bar=False)
        seconds = time.perf_counter() - start
        print(json.dumps([seconds, np.asarray(vectors, np.float64).tolist()]), file=out, flush=True)
    return 0


class Contender:
    """One contender's process."""

    def __init__(self, name: str, options: BackendsOptions, threads: int) -> None:
        python = options.python if name in BACKENDS else sys.executable
        self.process = subprocess.Popen(
            [python, __file__, "--contender", name, options.model, str(threads)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
        if not self.process.stdout or not self.process.stdout.readline():
            raise UsageError(f"the contender {name} did not start; what it printed is above.")

    def encode(self, texts: list[str]) -> tuple[float, np.ndarray]:
        assert self.process.stdin and self.process.stdout
        print(json.dumps(texts), file=self.process.stdin, flush=True)
        seconds, vectors = json.loads(self.process.stdout.readline())
        return seconds, np.array(vectors)

    def close(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()


def run(options: BackendsOptions) -> None:
    unknown = [name for name in options.contenders if name not in (*BACKENDS, *OURS)]
    if unknown or REFERENCE not in options.contenders:
        raise UsageError(f"--contenders takes {', '.join((*BACKENDS, *OURS))}, and {REFERENCE} has to be among them.")
    if options.data_dir is None:
        raise UsageError("--data_dir is missing: the folder that has STS-B.")
    task = get_task("STS-B")
    (split,) = find_split(task, options.data_dir, "dev")
    sentences = [row.text for row in read_task_file(task, split)]
    batches = {"1 text": sentences[:1], "32 texts": sentences[:32],
               "8 texts of 10 sentences": [" ".join(sentences[at:at + 10]) for at in range(0, 80, 10)]}
    threads = options.threads or machine.threads()
    contenders = {name: Contender(name, options, threads) for name in options.contenders}
    try:
        for title, texts in batches.items():
            found = {name: one.encode(texts) for name, one in contenders.items()}  # not counted
            seconds: dict[str, list[float]] = {name: [] for name in contenders}
            for _ in range(options.rounds):
                for name, one in contenders.items():
                    seconds[name].append(one.encode(texts)[0])
            exact, least = found[REFERENCE][1], float(np.median(seconds[REFERENCE]))
            print(f"{title}, {threads} threads")
            print(f"{'contender':16} {'ms':>8} {'times torch':>12} {'error':>8}")
            for name in contenders:
                error = np.linalg.norm(found[name][1] - exact) / np.linalg.norm(exact)
                median = float(np.median(seconds[name]))
                print(f"{name:16} {median * 1e3:8.1f} {least / median:11.2f}x {error:8.4f}")
    finally:
        for one in contenders.values():
            one.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
