"""What the jobs do with each kind of task: its head, its rows, its metrics, its file of predictions.

To add a kind, add a class here and its line in ``KINDS``, its loss in :mod:`bertpass.jobs.training.mxnet.losses` and
:mod:`bertpass.jobs.training.torch.losses`, its head in :mod:`bertpass.model.config` and its labels in
:mod:`bertpass.text.data.labels`. Question answering has its own data and its own jobs
(:mod:`bertpass.jobs.training.squad`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bertpass.engines.results import sigmoid
from bertpass.errors import DataError, UsageError
from bertpass.extras import require
from bertpass.jobs.tasks.predict import Dataset, encode_examples
from bertpass.model.config import HeadConfig
from bertpass.text import metrics
from bertpass.text.data import tasks
from bertpass.text.data.conll import write_conll
from bertpass.text.data.tagging import OUTSIDE, label_names, tag_rows, to_iob2
from bertpass.text.data.tasks import Task
from bertpass.text.example import Example
from bertpass.text.tokens.tokenizer import Tokenizer

Outputs = Sequence[np.ndarray]  # of the first sequences of a data set, in order


class Kind:
    """One output a row; the subclasses say what it means."""

    file = "predictions.tsv"

    def head(self, task: Task) -> HeadConfig:
        """The head that the task needs; UsageError where its labels are not known yet."""
        if task.open:
            raise UsageError(f"task {task.name} takes its labels from training data: give --model_parameters, or data "
                             "with labels.")
        return HeadConfig(task.kind, num_labels=task.outputs)

    def check(self) -> None:
        """MissingDependencyError, before any long work, where a package that the metrics need is not installed."""
        metrics.check()

    def labels(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """The labels that examples of a task with open labels hold."""
        return ()

    def encode(self, task: Task, examples: Sequence[Example], tokenizer: Tokenizer, max_length: int) -> Dataset:
        """The rows as a model's input, longer texts cut, with labels for the loss where all have one."""
        return encode_examples(examples, tokenizer, max_length)

    def labelled(self, data: Dataset) -> bool:
        """Whether every row has what :meth:`score` compares with."""
        return data.labels is not None

    def score(self, task: Task, outputs: Outputs, data: Dataset) -> dict[str, float]:
        """The task's metrics on the rows that have outputs."""
        raise NotImplementedError

    def write(self, path: Path, task: Task, outputs: Outputs, data: Dataset) -> None:
        """Write ``index<TAB>prediction``, GLUE's submission layout."""
        with path.open("w", encoding="utf-8") as file:
            file.write(f"index\t{self.column(task)}\n")
            for example, row in zip(data.examples, outputs, strict=False):
                file.write(f"{example.id}\t{self.spelled(task, row)}\n")

    def column(self, task: Task) -> str:
        """The header above what :meth:`spelled` gives."""
        return "prediction"

    def spelled(self, task: Task, row: np.ndarray) -> str:
        """The prediction of one row as a file holds it."""
        raise NotImplementedError


class Classification(Kind):
    """The class of the largest logit, by name."""

    def score(self, task: Task, outputs: Outputs, data: Dataset) -> dict[str, float]:
        return metrics.compute(task.metrics, np.stack(outputs).argmax(axis=1), _labels(task, len(outputs), data))

    def spelled(self, task: Task, row: np.ndarray) -> str:
        return task.labels[int(row.argmax())]


class Regression(Kind):
    """The score itself, in a file within the task's limits; several scores have a column each, by their names."""

    def score(self, task: Task, outputs: Outputs, data: Dataset) -> dict[str, float]:
        gold = _labels(task, len(outputs), data)
        if task.outputs == 1:
            return metrics.compute(task.metrics, np.stack(outputs)[:, 0], gold)
        return metrics.regression(task.metrics, np.stack(outputs), gold, task.labels)

    def column(self, task: Task) -> str:
        return "\t".join(task.labels) or super().column(task)

    def spelled(self, task: Task, row: np.ndarray) -> str:
        least, most = task.limits or (-np.inf, np.inf)
        # all digits of a float32, so that no two scores tie
        return "\t".join(f"{min(max(float(value), least), most):.9g}" for value in row)


class MultiLabel(Kind):
    """Every label whose probability is above the task's threshold."""

    def score(self, task: Task, outputs: Outputs, data: Dataset) -> dict[str, float]:
        gold = _labels(task, len(outputs), data)
        return metrics.multilabel(task.metrics, sigmoid(np.stack(outputs)), task.threshold, gold)

    def spelled(self, task: Task, row: np.ndarray) -> str:
        chosen = sigmoid(row) > task.threshold
        return task.separator.join(label for label, on in zip(task.labels, chosen, strict=True) if on)


class Ranking(Kind):
    """The probability that a passage is relevant to its query; metrics are of each query's passages in that order."""

    def score(self, task: Task, outputs: Outputs, data: Dataset) -> dict[str, float]:
        gold = _labels(task, len(outputs), data)
        groups = [example.group for example in data.examples[:len(outputs)]]
        return metrics.ranking(task.metrics, np.stack(outputs)[:, 0], gold, groups)

    def spelled(self, task: Task, row: np.ndarray) -> str:
        return repr(float(sigmoid(row)[0]))


class Tokens(Kind):
    """A tag for every word, from its first token; metrics are of entities, the file is in CoNLL's columns."""

    file = "predictions.conll"

    def check(self) -> None:
        require("seqeval.metrics", "ner")

    def labels(self, examples: Sequence[Example]) -> tuple[str, ...]:
        return label_names(tag for example in examples for tag in example.tags or ())

    def encode(self, task: Task, examples: Sequence[Example], tokenizer: Tokenizer, max_length: int) -> Dataset:
        """Long sentences become several rows. Labels are (rows, max_length), -1 at tokens that stand for no word."""
        rows = tag_rows([example.words for example in examples], tokenizer, max_length)
        labels = None
        if task.labels and all(example.tags is not None for example in examples):
            classes = {tag: at for at, tag in enumerate(task.labels)}
            labels = np.full((len(rows), max_length), -1, np.int32)
            for line, row in zip(labels, rows, strict=True):
                tags = examples[row.sentence].tags or ()
                line[row.positions] = [classes.get(tags[word], -1) for word in row.words]
        return Dataset(rows, labels, examples=examples, per_token=True)

    def labelled(self, data: Dataset) -> bool:
        return all(example.tags is not None for example in data.examples)

    def score(self, task: Task, outputs: Outputs, data: Dataset) -> dict[str, float]:
        if not self.labelled(data):
            raise _no_labels(task)
        found = self._tags(task, outputs, data)
        return metrics.tagging(task.metrics, found, [example.tags or () for example in data.examples[:len(found)]])

    def write(self, path: Path, task: Task, outputs: Outputs, data: Dataset) -> None:
        """Write word, tag where the data has one, and predicted tag in IOB2; see :func:`write_conll`."""
        write_conll(path, data.examples, self._tags(task, outputs, data))

    def _tags(self, task: Task, outputs: Outputs, data: Dataset) -> list[list[str]]:
        """The predicted tags of the sentences all of whose rows have outputs."""
        whole = len(data.examples) if len(outputs) == len(data) else data.encodings[len(outputs)].sentence
        if not whole:
            raise DataError("--max_iters stopped before the first sentence was complete: raise it.")
        found = [[OUTSIDE] * len(example.words) for example in data.examples[:whole]]
        for row, logits in zip(data.encodings, outputs, strict=False):
            if row.sentence < whole:
                for word, best in zip(row.words, logits[row.positions].argmax(axis=1), strict=True):
                    found[row.sentence][word] = task.labels[best]
        return [to_iob2(tags) for tags in found]


class Embedding(Kind):
    """Sentence vectors; those of pairs are scored by their cosine. Row 2i is a text, row 2i + 1 its pair."""

    file = "embeddings.npy"

    def head(self, task: Task) -> HeadConfig:
        return HeadConfig("embedding", pooling="mean", normalize=True)

    def encode(self, task: Task, examples: Sequence[Example], tokenizer: Tokenizer, max_length: int) -> Dataset:
        paired = bool(examples) and examples[0].text_pair is not None
        texts = [t for e in examples for t in ((e.text, e.text_pair or "") if paired else (e.text,))]
        gold = [e.label for e in examples] if paired else [None]
        return Dataset(tokenizer.encode(texts, max_length=max_length),
                       None if any(g is None for g in gold) else np.asarray(gold, np.float64), examples=examples)

    def score(self, task: Task, outputs: Outputs, data: Dataset) -> dict[str, float]:
        table = np.stack(outputs[:len(outputs) // 2 * 2])
        table = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
        cosine = (table[0::2] * table[1::2]).sum(axis=1)
        return metrics.compute(task.metrics, cosine, _labels(task, len(cosine), data))

    def write(self, path: Path, task: Task, outputs: Outputs, data: Dataset) -> None:
        """Write the vectors, (sequences, units) float32."""
        np.save(path, np.stack(outputs))


KINDS: Mapping[tasks.Kind, Kind] = {
    "classification": Classification(), "regression": Regression(), "ranking": Ranking(), "multilabel": MultiLabel(),
    "tokens": Tokens(), "embedding": Embedding()}


Parts = Mapping[str, tuple[Outputs, Dataset]]  # of a split, by the names of its files without their endings


def score(task: Task, parts: Parts, several: bool | None = None) -> dict[str, float]:
    """The metrics of a split's files; where it has several (default: here), ``"accuracy (dev_matched)"`` and so on."""
    kind, named = KINDS[task.kind], len(parts) > 1 if several is None else several
    found: dict[str, float] = {}
    for name, (outputs, data) in parts.items():
        scores = kind.score(task, outputs, data)
        found.update(scores if not named else {f"{metric} ({name})": v for metric, v in scores.items()})
    return found


def write(folder: Path, task: Task, parts: Parts, several: bool | None = None) -> list[Path]:
    """Write the predictions of a split's files: by the name that GLUE's site expects, where the task has one.

    Others are called "predictions", with the file's name where the split has several (default: here).
    """
    kind, written, named = KINDS[task.kind], [], len(parts) > 1 if several is None else several
    folder.mkdir(parents=True, exist_ok=True)
    usual = Path(kind.file)
    for name, (outputs, data) in parts.items():
        own = kind.file if not named else f"{usual.stem}_{name}{usual.suffix}"
        path = folder / task.submission.get(name, own)
        kind.write(path, task, outputs, data)
        written.append(path)
    return written


def _labels(task: Task, count: int, data: Dataset) -> np.ndarray:
    """The labels of the first rows."""
    if data.labels is None:
        raise _no_labels(task)
    return data.labels[:count]


def _no_labels(task: Task) -> DataError:
    return DataError(f"the data of {task.name} has no labels to compute {', '.join(task.metrics)} from.")
