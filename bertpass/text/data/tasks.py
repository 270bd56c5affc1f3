"""The tasks: one small declaration each of files, columns, labels and metrics, and finding a task's files.

To add a task, add a :class:`Task` to ``_DECLARED``: its folder names, the columns of its text and label, its labels in
order, its metrics. Columns are counted from 0. Sources: the GLUE benchmark's files and the names that its site expects
of predictions (Wang et al. 2018), SQuAD (Rajpurkar et al. 2016, 2018), CoNLL-2003 (Tjong Kim Sang and De Meulder 2003),
WNUT-17 (Derczynski et al. 2017), and the ERNIE layout of XNLI, LCQMC and ChnSentiCorp that GluonNLP reads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from bertpass.errors import DataError, UsageError, unknown

Kind = Literal["classification", "regression", "multilabel", "ranking", "tokens", "qa", "embedding"]
#: "columns": tab-separated; "conll": a word a line; "squad": questions of SQuAD's JSON; "paragraphs": the same file as
#: pairs of a question and a paragraph of its article
Layout = Literal["columns", "conll", "squad", "paragraphs"]


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


Files = tuple[tuple[str, ...], ...]

_TSV: Mapping[str, Files] = MappingProxyType(
    {split: ((f"{split}.tsv",),) for split in ("train", "dev", "test")})


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes
    ----------
    folders
        Names of its folder under the data root; the first is the usual one.
    columns
        Columns of the train split, and of the others unless ``other_columns`` names theirs. None for other layouts.
    files
        For each split its files; each file is a tuple of names of which the first that exists is taken (plain or .gz).
        More than one file of a split is evaluated one by one (MNLI matched and mismatched).
    labels
        In the order of the classes; empty for ranking, qa and embedding. Of a regression the names of its outputs where
        it has several. Empty for tokens and multilabel: those of the training file. ``label_aliases`` maps other
        spellings.
    metrics, main_metric
        Names for the functions of :mod:`bertpass.text.metrics`; the main one chooses the best weights. For qa those of
        :func:`bertpass.text.squad.metrics.evaluate`.
    submission
        By the name of a test file without its ending: the file of predictions that the benchmark's site expects.
    limits
        Least and largest score in such a file.
    skip_bad_rows
        Whether rows with a wrong number of columns are left out with a warning instead of being an error.
    separator, threshold
        Of a multi-label task: what stands between labels, and the probability above which a label is given.
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
    files: Mapping[str, Files] = field(default_factory=lambda: _TSV)
    layout: Layout = "columns"
    aliases: tuple[str, ...] = ()
    max_length: int = 128
    submission: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[float, float] | None = None
    skip_bad_rows: bool = False
    separator: str = ","
    threshold: float = 0.5

    @property
    def pair(self) -> bool:
        """Whether a row is two texts."""
        return self.kind in ("qa", "ranking") or (self.columns is not None and self.columns.pair is not None)

    @property
    def open(self) -> bool:
        """Whether the labels are those of the training file, or of a model that was trained on one."""
        return self.kind in ("tokens", "multilabel") and not self.labels

    @property
    def outputs(self) -> int:
        """Width of the head: classes, values of a regression, 1 for ranking, 2 (start and end) for qa, 0 without."""
        if self.kind == "regression":
            return max(len(self.labels), 1)
        return {"ranking": 1, "qa": 2, "embedding": 0}.get(self.kind, len(self.labels))

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


def _glue(name: str) -> dict[str, str]:
    """Predictions of the test split, as the GLUE site expects them."""
    return {"test": f"{name}.tsv"}


_YES_NO = ("0", "1")
_STS_COLUMNS = Columns(7, 8, 9)
_NLI_LABELS = ("neutral", "entailment", "contradiction")
_NLI_ALIASES = {"contradictory": "contradiction"}
_RANKING = ("mrr@10", "ndcg@10", "map")
_TAGGING = ("f1", "precision", "recall")
_SQUAD_FILES: Mapping[str, Files] = {"train": (("train-v1.1.json", "train-v1.1-subset.json"),),
                                     "dev": (("dev-v1.1.json",),)}

_DECLARED = (
    Task("MRPC", "classification", ("MRPC", "glue_mrpc"), Columns(3, 4, 0), ("accuracy", "f1"), "accuracy", _YES_NO,
         other_columns=_test(3, 4), submission=_glue("MRPC")),
    # GLUE's own QQP train.tsv has some rows that a line end inside a question has torn in two.
    Task("QQP", "classification", ("QQP", "glue_qqp"), Columns(3, 4, 5), ("accuracy", "f1"), "accuracy", _YES_NO,
         other_columns=_test(1, 2), submission=_glue("QQP"), skip_bad_rows=True),
    Task("QNLI", "classification", ("QNLI", "glue_qnli"), Columns(1, 2, 3), ("accuracy",), "accuracy",
         ("not_entailment", "entailment"), other_columns=_test(1, 2), submission=_glue("QNLI")),
    Task("RTE", "classification", ("RTE", "glue_rte"), Columns(1, 2, 3), ("accuracy",), "accuracy",
         ("not_entailment", "entailment"), other_columns=_test(1, 2), submission=_glue("RTE")),
    Task("STS-B", "regression", ("STS-B", "glue_stsb", "STSBenchmark"), _STS_COLUMNS, ("pearson", "spearman"),
         "pearson", aliases=("STSB", "STS_B", "STS"), submission=_glue("STS-B"), limits=(0.0, 5.0)),
    Task("CoLA", "classification", ("CoLA", "glue_cola"), Columns(3, None, 1, header=False), ("matthews", "accuracy"),
         "matthews", _YES_NO, other_columns=_test(1), submission=_glue("CoLA")),
    Task("MNLI", "classification", ("MNLI", "glue_mnli"), Columns(8, 9, 11), ("accuracy",), "accuracy",
         _NLI_LABELS, _NLI_ALIASES,
         {split: Columns(8, 9, 15) for split in ("dev", "dev_matched", "dev_mismatched")} | _test(8, 9),
         {"train": (("train.tsv",),),
          "dev": (("dev_matched.tsv",), ("dev_mismatched.tsv",)),
          "dev_matched": (("dev_matched.tsv",),), "dev_mismatched": (("dev_mismatched.tsv",),),
          "test": (("test_matched.tsv",), ("test_mismatched.tsv",))},
         submission={"test_matched": "MNLI-m.tsv", "test_mismatched": "MNLI-mm.tsv"}),
    # GLUE's diagnostic set, which a model of MNLI predicts.
    Task("AX", "classification", ("AX", "diagnostic"), Columns(1, 2), ("matthews",), "matthews", _NLI_LABELS,
         files={"test": (("diagnostic.tsv", "AX.tsv"),)}, submission={"diagnostic": "AX.tsv", "AX": "AX.tsv"}),
    Task("WNLI", "classification", ("WNLI", "glue_wnli"), Columns(1, 2, 3), ("accuracy",), "accuracy", _YES_NO,
         other_columns=_test(1, 2), submission=_glue("WNLI")),
    Task("SST", "classification", ("SST-2", "glue_sst", "SST"), Columns(0, None, 1), ("accuracy",), "accuracy", _YES_NO,
         other_columns=_test(1), aliases=("SST-2", "SST2", "SST_2"), submission=_glue("SST-2")),
    Task("XNLI", "classification", ("XNLI",), Columns(0, 1, 2), ("accuracy",), "accuracy",
         _NLI_LABELS, _NLI_ALIASES),
    Task("LCQMC", "classification", ("LCQMC",), Columns(0, 1, 2), ("accuracy",), "accuracy", _YES_NO),
    Task("ChnSentiCorp", "classification", ("ChnSentiCorp",), Columns(1, None, 0), ("accuracy",), "accuracy", _YES_NO),
    Task("QA", "qa", ("SQuAD", "SQuAD-1.1", "SQuAD-2.0"), None, ("exact", "f1"), "f1",
         files={**_SQUAD_FILES, "train_v2": (("train-v2.0.json", "train-v2.0-first10.json"),),
                "dev_v2": (("dev-v2.0.json",),)},
         layout="squad", aliases=("SQuAD", "question_answering"), max_length=384),
    Task("NER", "tokens", ("CoNLL-2003", "CoNLL2003", "NER"), None, _TAGGING, "f1", layout="conll",
         files={"train": (("train.txt", "eng.train"),), "dev": (("valid.txt", "dev.txt", "eng.testa"),),
                "test": (("test.txt", "eng.testb"),)}, aliases=("CoNLL-2003", "CoNLL2003")),
    Task("WNUT-17", "tokens", ("WNUT-17", "WNUT17", "emerging_entities_17"), None, _TAGGING, "f1", layout="conll",
         files={"train": (("wnut17train.conll",),), "dev": (("emerging.dev.conll",),),
                "test": (("emerging.test.annotated", "emerging.test"),)}, aliases=("WNUT17", "WNUT")),
    Task("SQuAD-rerank", "ranking", ("SQuAD", "SQuAD-1.1"), None, _RANKING, "mrr@10", layout="paragraphs",
         files=_SQUAD_FILES, aliases=("rerank",), max_length=256),
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


_OWN_METRICS: Mapping[Kind, tuple[str, ...]] = {
    "classification": ("accuracy",), "regression": ("pearson", "spearman"), "ranking": _RANKING, "tokens": _TAGGING,
    "multilabel": ("f1_micro", "f1_macro", "average_precision"),
}


def own_task(name: str, kind: Kind, labels: tuple[str, ...] = (), *, separator: str = ",",
             threshold: float = 0.5) -> Task:
    """The declaration of a person's own data, read by :func:`bertpass.text.data.readers.read_own`."""
    metrics = _OWN_METRICS[kind]
    if kind == "classification" and len(labels) == 2:
        metrics += ("f1",)
    return Task(name, kind, (), None, metrics, metrics[0], labels, layout="conll" if kind == "tokens" else "columns",
                separator=separator, threshold=threshold)


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
    if not task.folders:
        raise UsageError(f"the task {task.name} has no folder under --data_dir; --task names one that has.")
    root = Path(os.path.expanduser(data_dir))
    if not root.is_dir():
        raise DataError(f"no folder at {root}; name the folder that holds {task.folders[0]}/ with --data_dir.")
    folders = _folders(task, root)
    for folder in (*folders, root):
        found = [hit for names in task.files[split] if (hit := _first_of(folder, names))]
        if found:
            return found
    names = " or ".join(f"{name}[.gz]" for group in task.files[split] for name in group)
    looked = ", ".join(str(f) for f in (folders or [root / task.folders[0]])) + f" and {root}"
    raise DataError(f"no {split} file of {task.name}: looked for {names} in {looked}.")


def has_split(task: Task, data_dir: str | Path, split: str) -> bool:
    """Whether :func:`find_split` would find a file."""
    root = Path(os.path.expanduser(data_dir))
    return any(_first_of(folder, names) for folder in (*_folders(task, root), root)
               for names in task.files.get(split, ()))


def stem(path: str | Path) -> str:
    """The name of a file without its ending: "dev_matched" of dev_matched.tsv.gz."""
    return Path(Path(path).name.removesuffix(".gz")).stem


def _folders(task: Task, root: Path) -> list[Path]:
    wanted = {name.lower() for name in task.folders}
    return sorted(p for p in root.iterdir() if p.name.lower() in wanted and p.is_dir())


def _first_of(folder: Path, names: tuple[str, ...]) -> Path | None:
    candidates = (folder / (name + ending) for name in names for ending in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)
