#!/usr/bin/env python
"""What each precision costs a model of sentence vectors: beside transformers and sentence-transformers on STS-B.

For each precision: the error of token states and of vectors (L2 norm of the difference from the reference in float32
over the reference's) on the first sentences, and Spearman's correlation of the cosines of all pairs with their scores,
times 100. The reference is sentence-transformers on the same sentences. int8 is calibrated on sentences of the train
split by ``int8-calibrated``, and not at all by ``int8``.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from bertpass.commands.run import guarded
from bertpass.engines.model import Model
from bertpass.engines.native import NativeEngine
from bertpass.engines.rows import joined
from bertpass.errors import UsageError
from bertpass.extras import require
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.config import HeadConfig
from bertpass.model.layouts import huggingface
from bertpass.model.low_precision.calibration import calibrated
from bertpass.model.record import Checkpoint
from bertpass.options import flag, parse
from bertpass.text.data.readers import read_task_file
from bertpass.text.data.tasks import Task, find_split, get_task
from bertpass.text.metrics import compute

REFERENCE, CALIBRATED = "sentence-transformers", "-calibrated"


@dataclass
class PrecisionOptions:
    """Flags of benchmarks/embedding_precision.py."""

    data_dir: str | None = flag(os.environ.get("BERTPASS_DATA"), "folder with STS-B")
    model: str = flag("mpnet", "a model for embeddings, as bertpass.load takes it")
    precisions: list[str] = flag([REFERENCE, "float32", "bfloat16", "int8"],
                                 f"{REFERENCE}, precisions of the native engine, int8{CALIBRATED}")
    split: str = flag("test", "split whose pairs are scored")
    states: int = flag(64, "sentences whose token states and vectors are compared", least=1)
    rows: int = flag(160, "sentences of train for calibration", least=1)


def main(argv: Sequence[str]) -> int:
    return guarded(lambda: run(parse(PrecisionOptions, argv, "What each precision costs a model of sentence vectors.")))


def run(options: PrecisionOptions) -> None:
    if options.data_dir is None:
        raise UsageError("give --data_dir or set BERTPASS_DATA.")
    task = get_task("embedding")
    (file,) = find_split(task, options.data_dir, options.split)
    pairs = read_task_file(task, file, options.split)
    scores = np.array([pair.label for pair in pairs], float)
    texts = [pair.text for pair in pairs], [pair.text_pair or "" for pair in pairs]
    some = texts[0][:options.states]
    checkpoint = load_checkpoint(options.model)
    with tempfile.TemporaryDirectory() as folder:
        huggingface.write_folder(Path(folder) / "model", checkpoint)
        reference = Reference(str(Path(folder) / "model"))
    wanted = reference.states(some), reference.encode(some)
    print(f"{'':20} Spearman  error of states  of vectors")
    for name in options.precisions:
        errors = ""
        model: Reference | Ours = reference
        if name != REFERENCE:
            dtype = name.removesuffix(CALIBRATED)
            source = checkpoint if dtype == name else calibrate(checkpoint, task, options)
            model = Ours(source, dtype)
            errors = f"{error(model.states(some), wanted[0]):13.1e}  {error(model.encode(some), wanted[1]):11.1e}"
        first, second = (model.encode(side) for side in texts)
        cosines = (first * second).sum(1) / (np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1))
        print(f"{name:21} {100 * compute(['spearman'], cosines, scores)['spearman']:8.3f} {errors}", flush=True)


class Reference:
    """sentence-transformers on a folder, in float32."""

    def __init__(self, folder: str) -> None:
        sentence_transformers = require("sentence_transformers", "reference")
        self._model = sentence_transformers.SentenceTransformer(folder, device="cpu")

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.asarray(self._model.encode(list(texts)))

    def states(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Of each text (tokens, units)."""
        return [state.numpy() for state in self._model.encode(list(texts), output_value="token_embeddings")]


class Ours:
    """The native engine in a precision."""

    def __init__(self, checkpoint: Checkpoint, dtype: str) -> None:
        self._vectors = Model(NativeEngine(checkpoint, dtype=dtype), checkpoint.config, checkpoint.head,
                              checkpoint.tokenizer, (), checkpoint.max_length, checkpoint.sentence)
        self._states = NativeEngine(dataclasses.replace(checkpoint, head=HeadConfig("none")), dtype=dtype)
        self._checkpoint = checkpoint

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return self._vectors.encode(list(texts))

    def states(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self._states.rows(*joined(encoded(self._checkpoint, texts)))[0].by_row()


def encoded(checkpoint: Checkpoint, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ids and token types of each text."""
    assert checkpoint.tokenizer is not None and checkpoint.max_length is not None
    return [(one.ids, one.token_types) for one in checkpoint.tokenizer.encode(texts, max_length=checkpoint.max_length)]


def calibrate(checkpoint: Checkpoint, task: Task, options: PrecisionOptions) -> Checkpoint:
    (file,) = find_split(task, options.data_dir or "", "train")
    texts = [pair.text for pair in read_task_file(task, file)]
    return calibrated(checkpoint, encoded(checkpoint, texts[::len(texts) // options.rows][:options.rows]))


def error(found: Sequence[np.ndarray] | np.ndarray, wanted: Sequence[np.ndarray] | np.ndarray) -> float:
    """L2 norm of the difference over that of what is wanted."""
    left, right = np.concatenate(list(found)), np.concatenate(list(wanted))
    return float(np.linalg.norm(left - right) / np.linalg.norm(right))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
