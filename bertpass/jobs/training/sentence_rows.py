"""Rows of texts that belong together, to train and judge sentence vectors: reading, encoding, batches, metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.errors import DataError
from bertpass.jobs.tasks.predict import Dataset, Forward, collect
from bertpass.jobs.training.epochs import Epochs
from bertpass.text import metrics
from bertpass.text.data import labels as cells
from bertpass.text.data import own_files
from bertpass.text.data.readers import read_split
from bertpass.text.data.tasks import get_task
from bertpass.text.tokens.batching import Batch, collate
from bertpass.text.tokens.tokenizer import Encoding, Tokenizer

#: what columns may also be called, as in the data sets of sentence-transformers
NAMES = {"anchor": "text", "query": "text", "sentence1": "text", "positive": "text_pair", "passage": "text_pair",
         "sentence2": "text_pair", "score": "label", "similarity": "label"}
METRICS = {"scored": ("spearman", "pearson"), "triplets": ("accuracy",), "pairs": ("mrr@10", "accuracy@1")}
_NUMBERS = get_task("STS-B")  # a task whose labels are numbers
_FIRST = 10  # passages that MRR@10 looks at


@dataclass(frozen=True)
class Rows:
    """Texts by column, as many in each: texts, texts that belong to them, and maybe texts that do not; scores of pairs.

    ``kind`` is "scored", "triplets" or "pairs".
    """

    columns: tuple[list[str], ...]
    scores: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.columns[0])

    @property
    def kind(self) -> str:
        return "scored" if self.scores is not None else "triplets" if len(self.columns) > 2 else "pairs"


@dataclass(frozen=True)
class TextBatch:
    """A batch per column, of the same rows, and their scores."""

    columns: tuple[Batch, ...]
    scores: np.ndarray | None

    def __len__(self) -> int:
        return len(self.columns[0])


def read_own(path: str, columns: Mapping[str, str]) -> Rows:
    """Read .tsv, .csv or .jsonl with text and text_pair, and label (a score) or negative (a text that does not belong).

    DataError where a row lacks what others have, or is malformed.
    """
    texts: dict[str, list[str]] = {"text": [], "text_pair": [], "negative": []}
    scores: list[float] = []
    where = path
    for where, fields in own_files.rows(Path(path), NAMES, chosen=columns):
        if "text_pair" not in fields:
            raise DataError(f"{where}: expected two texts, text and text_pair; found {', '.join(fields)}.")
        if "negative" in fields and "label" in fields:
            raise DataError(f"{where}: a row has a label or a negative; take one of the columns out.")
        for name in texts.keys() & fields:
            if not isinstance(fields[name], str) or not fields[name].strip():
                raise DataError(f"{where}: {name} is {fields[name]!r:.60}, expected a text.")
            texts[name].append(fields[name])
        if "label" in fields:
            scores.append(cells.number(_NUMBERS, fields["label"], where))
    if not texts["text"]:
        raise DataError(f"{path} has no rows.")
    count = len(texts["text"])
    for name, found in (("negative", texts["negative"]), ("label", scores)):
        if found and len(found) < count:
            raise DataError(f"{path}: {count - len(found)} of {count} rows have no {name}; give every row one, or no "
                            "row.")
    used = ("text", "text_pair", "negative") if texts["negative"] else ("text", "text_pair")
    return Rows(tuple(texts[name] for name in used), np.asarray(scores, np.float32) if scores else None)


def read_stsb(folder: str, split: str) -> Rows:
    """A split of STS-B in GLUE's layout; scores are from 0 to 1."""
    found = read_split(_NUMBERS, folder, split)
    scores = np.asarray([example.label for example in found], np.float32) / 5
    return Rows(([example.text for example in found], [example.text_pair or "" for example in found]), scores)


def encode(rows: Rows, tokenizer: Tokenizer, max_length: int, prompt: str) -> Dataset:
    """A tuple of encodings per row, the prompt before every text; labels are the scores."""
    columns = [tokenizer.encode([prompt + text for text in column], max_length=max_length) for column in rows.columns]
    return Dataset(list(zip(*columns, strict=True)), rows.scores)


@dataclass(frozen=True)
class SentenceEpochs(Epochs):
    """Rows in random order, the same for the same seed and epoch. ``apart``: a batch holds no text twice as far as the
    rows allow it, because the texts of other rows count as texts that do not belong."""

    apart: bool = False

    def batches(self, epoch: int) -> Iterator[TextBatch]:  # type: ignore[override]
        order = np.random.default_rng([self.options.seed, epoch]).permutation(len(self.data)).tolist()
        while order:
            chosen = self._next(order)
            order = [row for row in order if row not in set(chosen)]
            index = np.asarray(chosen, np.int64)
            columns = zip(*(self.data.encodings[row] for row in chosen), strict=True)
            yield TextBatch(
                tuple(collate(column, self.pad_id, self.options.round_to, index=index) for column in columns),
                None if self.data.labels is None else self.data.labels[index])

    def _next(self, order: Sequence[int]) -> list[int]:
        """The rows of the next batch out of those that are left."""
        size = self.options.batch_size
        if not self.apart:
            return list(order[:size])
        chosen: list[int] = []
        seen: set[tuple[int, ...]] = set()
        for row in order:
            texts = {tuple(encoding.ids) for encoding in self.data.encodings[row]}
            if not texts & seen:
                chosen.append(row)
                seen |= texts
            if len(chosen) == size:
                return chosen
        taken = set(chosen)
        return chosen + [row for row in order if row not in taken][:size - len(chosen)]


def judge(forward: Forward, data: Dataset, kind: str, batch_size: int, pad_id: int) -> dict[str, float]:
    """Metrics of the vectors' cosine: Spearman and Pearson with the scores; the share of rows whose own text is nearer
    than the other; or of pairs how near the own text comes among all of the file (MRR@10, accuracy of the first)."""
    columns: list[Sequence[Encoding]] = list(zip(*data.encodings, strict=True))
    vectors = []
    for number, column in enumerate(columns, 1):
        rows = collect(forward, Dataset(column), batch_size, pad_id, f"evaluating column {number}/{len(columns)}")
        table = np.stack(rows)
        vectors.append(table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12))
    own = (vectors[0] * vectors[1]).sum(axis=1)
    if kind == "scored":
        return metrics.compute(METRICS[kind], own, data.labels if data.labels is not None else [])
    if kind == "triplets":
        return {"accuracy": float((own > (vectors[0] * vectors[2]).sum(axis=1)).mean())}
    ranks = np.concatenate([1 + _nearer(vectors[0][at:at + 256], vectors[1], own[at:at + 256])
                            for at in range(0, len(own), 256)])
    return {"mrr@10": float(np.where(ranks <= _FIRST, 1 / ranks, 0).mean()), "accuracy@1": float((ranks == 1).mean())}


def _nearer(vectors: np.ndarray, others: np.ndarray, own: np.ndarray) -> Any:
    """How many of ``others`` are nearer to each vector than its own text, beyond rounding."""
    return (vectors @ others.T > own[:, None] + 1e-6).sum(axis=1)
