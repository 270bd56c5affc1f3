"""All contenders on one model: the files they need, whether their vectors agree, their times in turn, their quality."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertpass.base.files import write_json
from bertpass.bench.cpu.run import errors
from bertpass.bench.models import checkpoint_for_speed
from bertpass.bench.peers.contenders import REFERENCE, Contender
from bertpass.bench.peers.process import Peer, PeerError
from bertpass.bench.quiet import Others
from bertpass.bench.timing import PAUSE, Timing
from bertpass.bench.variants import BOUNDS
from bertpass.errors import UsageError
from bertpass.model.layouts import huggingface
from bertpass.text.data.readers import read_task_file
from bertpass.text.data.tasks import find_split, get_task
from bertpass.text.metrics import compute
from bertpass.text.squad.data import read_squad

ROUNDS, LEAST_ROUNDS = 9, 3
CHECKED = 64  # sentences whose vectors are compared
BATCH = 32  # rows of a batch, as sentence-transformers' own default


@dataclass(frozen=True)
class Workload:
    """What a call encodes. A call goes through all ``parts``, one after the other; its time is that of one part."""

    name: str
    about: str
    parts: tuple[tuple[Any, ...], ...]
    batch: int = BATCH

    @property
    def rows(self) -> int:
        """Texts of one part."""
        return len(self.parts[0])


@dataclass(frozen=True)
class Data:
    """Real texts: sentences and their scored pairs of STS-B, questions and paragraphs of SQuAD's dev split."""

    sentences: Sequence[str]
    pairs: Sequence[tuple[str, str]]
    scores: np.ndarray
    questions: Sequence[str]
    paragraphs: Sequence[str]


def read_data(folder: str | None) -> Data:
    """The texts below a folder in GLUE and SQuAD layout.

    Raises
    ------
    UsageError
        There is no folder.
    DataError
        STS-B or SQuAD are not in it.
    """
    if folder is None:
        raise UsageError("give --data_dir or set BERTPASS_DATA: the folder that has STS-B and SQuAD.")
    task = get_task("STS-B")
    (dev,), (test,) = (find_split(task, folder, split) for split in ("dev", "test"))
    rows = read_task_file(task, test)
    (squad,) = find_split(get_task("QA"), folder, "dev")
    questions = read_squad(squad).questions
    return Data([row.text for row in read_task_file(task, dev)], [(row.text, row.text_pair or "") for row in rows],
                np.array([row.label for row in rows], float), [one.question for one in questions],
                list(dict.fromkeys(one.context for one in questions)))


def workloads(data: Data, words: Callable[[str], int]) -> list[Workload]:
    """What is timed; ``words`` counts a text's tokens, the special ones too."""
    queries = [one for one in data.questions[::97] if 8 <= words(one) <= 20][:16]
    long = [one for one in data.paragraphs if 110 <= words(one) <= 128]
    return [Workload("query", "one question of 8 to 20 tokens (SQuAD)", tuple((one,) for one in queries), 1),
            Workload("1x128", "one paragraph of 110 to 128 tokens (SQuAD)", tuple((one,) for one in long[:4]), 1),
            Workload("32 sentences", "32 sentences of STS-B", (tuple(data.sentences[:32]),)),
            Workload("32 paragraphs", "32 paragraphs of SQuAD, cut to the model's length",
                     (tuple(data.paragraphs[::60][:32]),))]


@dataclass
class Entry:
    """What was found of one contender. ``error`` is that of the vectors, relative to the reference's (L2)."""

    contender: Contender
    about: dict[str, Any] = field(default_factory=dict)
    resident_bytes: int = 0
    peak_bytes: int = 0
    error: float | None = None
    spearman: float | None = None
    failure: str | None = None
    timings: dict[str, Timing] = field(default_factory=dict)

    @property
    def agrees(self) -> bool | None:
        """Whether the error is within the bound of the precision; None where it is not known."""
        return None if self.error is None else self.error <= BOUNDS[self.contender.precision]

    def to_dict(self) -> dict[str, Any]:
        """For result files."""
        return {**asdict(self.contender), "settings": self.contender.about, "ours": self.contender.ours,
                "about": self.about, "resident_bytes": self.resident_bytes, "peak_bytes": self.peak_bytes,
                "relative_error": self.error, "bound": BOUNDS[self.contender.precision], "agrees": self.agrees,
                "spearman": self.spearman, "failure": self.failure,
                "timings": {name: one.to_dict() for name, one in self.timings.items()}}


def folder_of(model: str, files: Path, contenders: Sequence[Contender], sentences: Sequence[str],
              cpus: Sequence[int]) -> Path:
    """The folder of sentence-transformers with all files that the contenders load, made where it is not there yet."""
    folder = files / model.replace("/", "-").replace(":", "-")
    if not (folder / "model.safetensors").exists():
        huggingface.write_folder(folder, checkpoint_for_speed(model))
    absent = [one.file for one in contenders if one.file and not (folder / one.file).exists()]
    if absent:
        maker = Peer("peers", len(cpus), cpus, files / "make.log")
        with contextlib.closing(maker), contextlib.suppress(PeerError):  # each contender says which file it lacks
            maker.make(folder, sentences)
    return folder


@dataclass
class Run:
    """The processes of one model's contenders; each failure is kept as that contender's result."""

    folder: Path
    threads: int
    cpus: Sequence[int]
    tell: Callable[[str], None] = lambda _: None
    entries: dict[str, Entry] = field(default_factory=dict)
    peers: dict[str, Peer] = field(default_factory=dict)
    others: Others = field(default_factory=Others)

    def start(self, contenders: Sequence[Contender]) -> None:
        for one in contenders:
            self.tell(f"loading {one.name}")
            entry = self.entries[one.name] = Entry(one)
            if one.file and not (self.folder / one.file).exists():
                entry.failure = f"{one.file} was not made; {self.folder.parent / 'make.log'} says why."
                continue
            peer = Peer(one.environment, self.threads, self.cpus, self.folder.parent / f"{one.name}.log")
            try:
                entry.about = peer.load(one, self.folder, self.threads)
                entry.resident_bytes = peer.memory()[0]
            except PeerError as error:
                entry.failure = str(error)
                continue
            self.peers[one.name] = peer

    def encode(self, name: str, texts: Sequence[Any], batch: int = BATCH) -> tuple[float, np.ndarray] | None:
        """Seconds and vectors; None for one that failed, now or before."""
        if name not in self.peers:
            return None
        try:
            return self.peers[name].encode(texts, batch)
        except PeerError as error:
            self.entries[name].failure = str(error)
            del self.peers[name]
            return None

    def check(self, texts: Sequence[Any], reference: str = REFERENCE) -> None:
        """The error of each one's vectors, relative to the reference's."""
        self.tell("comparing the vectors")
        found = {name: self.encode(name, texts) for name in list(self.peers)}
        exact = found.get(reference)
        if exact is None:
            raise UsageError(f"{reference} is what the others are compared with and did not run: "
                             f"{self.entries[reference].failure}")
        for name, one in found.items():
            if one is not None:
                self.entries[name].error = errors(one[1], exact[1])[0]

    def time(self, work: Workload, rounds: int = ROUNDS, seconds: float = 20.0) -> None:
        """Interleaved rounds, A B C A B C, after one call that is not counted; fewer of them where calls are slow."""
        spent: dict[str, list[list[float]]] = {}
        first = 0.0
        for name in list(self.peers):
            self.tell(f"{work.name}: warm-up of {name}")
            self._call(name, work)
            again = self._call(name, work)
            if again is not None:
                spent[name] = []
                first += sum(again)
            self.others.pause(PAUSE)
        count = max(LEAST_ROUNDS, min(rounds, int(seconds / max(first, 1e-9))))
        for turn in range(count):
            self.tell(f"{work.name}: round {turn + 1} of {count}")
            for name in spent:
                calls = self._call(name, work)
                if calls is not None:
                    spent[name].append(calls)
                self.others.pause(PAUSE)
        for name, parts in spent.items():
            if len(parts) == count:
                self.entries[name].timings[work.name] = Timing.of(parts)

    def _call(self, name: str, work: Workload) -> list[float] | None:
        """Seconds of each part."""
        found = [self.encode(name, part, work.batch) for part in work.parts]
        return None if any(one is None for one in found) else [one[0] for one in found if one is not None]

    def score(self, data: Data, wanted: Callable[[str], bool] = lambda _: True) -> None:
        """Spearman's correlation of the cosines of STS-B's test pairs with their scores, and the memory until then, of
        each contender that is ``wanted``, which is asked just before."""
        for name in list(self.peers):
            if not wanted(name):
                continue
            self.tell(f"STS-B by {name}")
            sides = [self.encode(name, side) for side in zip(*data.pairs, strict=True)]
            if sides[0] is not None and sides[1] is not None:
                cosines = (sides[0][1] * sides[1][1]).sum(1)
                self.entries[name].spearman = compute(["spearman"], cosines, data.scores)["spearman"]
                self.entries[name].peak_bytes = self.peers[name].memory()[1]

    def close(self) -> None:
        for peer in self.peers.values():
            peer.close()


@contextlib.contextmanager
def running(folder: Path, contenders: Sequence[Contender], threads: int, cpus: Sequence[int],
            tell: Callable[[str], None] = lambda _: None) -> Iterator[Run]:
    """The contenders' processes, loaded; they end with the block."""
    with contextlib.closing(Run(folder, threads, cpus, tell)) as run:
        run.start(contenders)
        yield run


def report(path: Path, environment: Mapping[str, Any], model: str, run: Run, works: Sequence[Workload]) -> None:
    """Write the result file, which ``bertpass bench report`` reads."""
    write_json(path, {"environment": environment, "model": model, "others_load": round(run.others.load, 3),
                      "workloads": [{"name": w.name, "about": w.about, "rows": w.rows, "batch": w.batch}
                                    for w in works],
                      "contenders": [entry.to_dict() for entry in run.entries.values()]})


def counter(folder: Path) -> Callable[[str], int]:
    """Counts the tokens of a text, the special ones too."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text).ids)
