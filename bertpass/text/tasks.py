"""The tasks: one small declaration each of files, columns, labels and metrics, and finding a task's files.

To add a task, add a :class:`Task` to ``_DECLARED``: its folder names, the columns of its text and label, its labels in
order, its metrics. Columns are counted from 0. Sources: the GLUE benchmark's files (Wang et al. 2018), SQuAD (Rajpurkar
et al. 2016, 2018), and the ERNIE layout of XNLI, LCQMC and ChnSentiCorp that GluonNLP reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from bertpass.errors import DataError, UsageError, unknown

Kind = Literal["classification", "regression", "qa", "embedding"]


@dataclass(frozen=True)
class Columns:
    """Where a tab-separated file has its text, second text and label (from 0), and whether it starts with a header."""

    text: int
    pair: int | None = None
    label: int | None = None
    header: bool = True

    @property
    def least(self) -> int:
        """The smallest number of columns that a row can have; a label may be missing."""
        return 1 + max(self.text, -1 if self.pair is None else self.pair)


_TSV: Mapping[str, tuple[tuple[str, ...], ...]] = MappingProxyType(
    {split: ((f"{split}.tsv",),) for split in ("train", "dev", "test")})


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes
    ----------
    folders
        Names of its folder under the data root; the first is the usual one.
    columns
        Columns of the train split, and of the others unless ``other_columns`` names theirs. None for SQuAD.
    files
        For each split its files; each file is a tuple of names of which the first that exists is taken (plain or .gz).
        More than one file of a split is evaluated one by one (MNLI matched and mismatched).
    labels
        In the order of the classes; empty for regression, qa and embedding. ``label_aliases`` maps other spellings.
    metrics, main_metric
        Names for :func:`bertpass.text.metrics.compute`; the main one chooses the best epoch. For qa those of
        :func:`bertpass.text.squad_metrics.evaluate`.
    skip_bad_rows
        Whether rows with a wrong number of columns are left out with a warning instead of being an error.
    """

    name: str
    kind: Kind
    folders: tuple[str, ...]
    columns: Columns | None
    metrics: tuple[str, ...]
    main_metric: str
    labels: tuple[str, ...] = ()
    label_aliases: Mapping[str, str] = field(default_factory=dict)
    other_columns: Mapping[str, Columns] = field(default_factory=dict)
    files: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=lambda: _TSV)
    aliases: tuple[str, ...] = ()
    max_length: int = 128
    skip_bad_rows: bool = False

    @property
    def pair(self) -> bool:
        """Whether a row is two texts."""
        return self.kind == "qa" or (self.columns is not None and self.columns.pair is not None)

    @property
    def outputs(self) -> int:
        """Width of the head: classes, 1 for regression, 2 (start and end) for qa, 0 without a head."""
        return {"classification": len(self.labels), "regression": 1, "qa": 2, "embedding": 0}[self.kind]

    def columns_of(self, split: str) -> Columns:
        """The columns of a split's files; only for tasks in tab-separated files."""
        if self.columns is None:
            raise UsageError(f"task {self.name} is not in tab-separated files.")
        return self.other_columns.get(split, self.columns)

    def label_index(self, label: str) -> int:
        """The class of a label as a file spells it; KeyError if it is none of this task's."""
        spelled = self.label_aliases.get(label, label)
        try:
            return self.labels.index(spelled)
        except ValueError:
            raise KeyError(label) from None


def _test(text: int, pair: int | None = None) -> dict[str, Columns]:
    """GLUE's test files have other columns than train and dev, a header and no label."""
    return {"test": Columns(text, pair)}


_YES_NO = ("0", "1")
_STS_COLUMNS = Columns(7, 8, 9)
_NLI_ALIASES = {"contradictory": "contradiction"}

_DECLARED = (
    Task("MRPC", "classification", ("MRPC", "glue_mrpc"), Columns(3, 4, 0), ("accuracy", "f1"), "accuracy", _YES_NO,
         other_columns=_test(3, 4)),
    # GLUE's own QQP train.tsv has some rows that a line end inside a question has torn in two.
    Task("QQP", "classification", ("QQP", "glue_qqp"), Columns(3, 4, 5), ("accuracy", "f1"), "accuracy", _YES_NO,
         other_columns=_test(1, 2), skip_bad_rows=True),
    Task("QNLI", "classification", ("QNLI", "glue_qnli"), Columns(1, 2, 3), ("accuracy",), "accuracy",
         ("not_entailment", "entailment"), other_columns=_test(1, 2)),
    Task("RTE", "classification", ("RTE", "glue_rte"), Columns(1, 2, 3), ("accuracy",), "accuracy",
         ("not_entailment", "entailment"), other_columns=_test(1, 2)),
    Task("STS-B", "regression", ("STS-B", "glue_stsb", "STSBenchmark"), _STS_COLUMNS, ("pearson", "spearman"),
         "pearson", aliases=("STSB", "STS_B", "STS")),
    Task("CoLA", "classification", ("CoLA", "glue_cola"), Columns(3, None, 1, header=False), ("matthews", "accuracy"),
         "matthews", _YES_NO, other_columns=_test(1)),
    Task("MNLI", "classification", ("MNLI", "glue_mnli"), Columns(8, 9, 11), ("accuracy",), "accuracy",
         ("neutral", "entailment", "contradiction"), _NLI_ALIASES,
         {split: Columns(8, 9, 15) for split in ("dev", "dev_matched", "dev_mismatched")} | _test(8, 9),
         {"train": (("train.tsv",),),
          "dev": (("dev_matched.tsv",), ("dev_mismatched.tsv",)),
          "dev_matched": (("dev_matched.tsv",),), "dev_mismatched": (("dev_mismatched.tsv",),),
          "test": (("test_matched.tsv",), ("test_mismatched.tsv",))}),
    Task("WNLI", "classification", ("WNLI", "glue_wnli"), Columns(1, 2, 3), ("accuracy",), "accuracy", _YES_NO,
         other_columns=_test(1, 2)),
    Task("SST", "classification", ("SST-2", "glue_sst", "SST"), Columns(0, None, 1), ("accuracy",), "accuracy", _YES_NO,
         other_columns=_test(1), aliases=("SST-2", "SST2", "SST_2")),
    Task("XNLI", "classification", ("XNLI",), Columns(0, 1, 2), ("accuracy",), "accuracy",
         ("neutral", "entailment", "contradiction"), _NLI_ALIASES),
    Task("LCQMC", "classification", ("LCQMC",), Columns(0, 1, 2), ("accuracy",), "accuracy", _YES_NO),
    Task("ChnSentiCorp", "classification", ("ChnSentiCorp",), Columns(1, None, 0), ("accuracy",), "accuracy", _YES_NO),
    Task("QA", "qa", ("SQuAD", "SQuAD-1.1", "SQuAD-2.0"), None, ("exact", "f1"), "f1",
         files={"train": (("train-v1.1.json", "train-v1.1-subset.json"),),
                "dev": (("dev-v1.1.json",),),
                "train_v2": (("train-v2.0.json", "train-v2.0-first10.json"),),
                "dev_v2": (("dev-v2.0.json",),)},
         aliases=("SQuAD", "question_answering"), max_length=384),
    # Sentence embeddings are judged on STS-B: Spearman of the cosine with the score of a pair.
    Task("embedding", "embedding", ("STS-B", "glue_stsb", "STSBenchmark"), _STS_COLUMNS, ("spearman", "pearson"),
         "spearman", aliases=("embed", "embeddings")),
)

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _DECLARED})
_BY_ALIAS = {alias.lower(): task for task in _DECLARED for alias in (task.name, *task.aliases)}


def get_task(name: str) -> Task:
    """The task of this name or alias, in any case ("sst-2", "STSB").

    Raises
    ------
    UsageError
        There is no such task; the text names the nearest and all of them.
    """
    task = _BY_ALIAS.get(name.strip().lower())
    if task is None:
        raise UsageError(unknown("task", name, TASKS))
    return task


def own_task(name: str, kind: Kind, labels: tuple[str, ...] = ()) -> Task:
    """The declaration of a person's own data, read by :func:`bertpass.text.readers.read_own`."""
    if kind == "regression":
        return Task(name, kind, (), None, ("pearson", "spearman"), "pearson")
    return Task(name, kind, (), None, ("accuracy", "f1") if len(labels) == 2 else ("accuracy",), "accuracy", labels)


def find_split(task: Task, data_dir: str | Path, split: str) -> list[Path]:
    """The files of one split: one, or two for MNLI's dev and test where both are there.

    ``data_dir`` is either the folder that holds the tasks' folders or the task's own folder; names of folders match in
    any case.

    Raises
    ------
    UsageError
        The task has no such split.
    DataError
        No file was found; the text lists where they were looked for.
    """
    if split not in task.files:
        raise UsageError(unknown(f"split of {task.name}", split, task.files))
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise DataError(f"no folder at {root}; name the folder that holds {task.folders[0]}/ with --data_dir.")
    wanted = {name.lower() for name in task.folders}
    folders = sorted(p for p in root.iterdir() if p.name.lower() in wanted and p.is_dir())
    for folder in (*folders, root):
        found = [hit for names in task.files[split] if (hit := _first_of(folder, names))]
        if found:
            return found
    names = " or ".join(f"{name}[.gz]" for group in task.files[split] for name in group)
    looked = ", ".join(str(f) for f in (folders or [root / task.folders[0]])) + f" and {root}"
    raise DataError(f"no {split} file of {task.name}: looked for {names} in {looked}.")


def _first_of(folder: Path, names: tuple[str, ...]) -> Path | None:
    candidates = (folder / (name + ending) for name in names for ending in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)
