"""A guard against a kernel that becomes slower without a word: how many times as fast as the portable one it is.

The portable kernels are the specification in plain loops, which nobody makes faster, so the ratio of the two in one run
says what the machine's speed of the day does not hide. A file of ratios is kept for each kind of host.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.bench.cpu import kernels
from bertpass.bench.cpu.kernels import Case
from bertpass.errors import BertpassError, DataError, UsageError

REFERENCE = "portable"
#: a kernel that lost more than this factor against the reference counts as slower
TOLERANCE = 1.3
#: small shapes, for the reference takes long: rows of the linear layers, tokens of attention and softmax
MODEL, ROWS, LENGTHS = "minilm", (32,), (64,)
PAIRS = 7
#: rounds over all kernels that a kept ratio is the median of: a spell of the machine is over by the next
ROUNDS = 3
#: measurements after which a kernel that still looks slower is slower
TRIES = 3


@dataclass(frozen=True)
class Change:
    """One kernel's ratio as it was kept and as it is now; ``loss`` above 1 is slower."""

    name: str
    kept: float
    now: float

    @property
    def loss(self) -> float:
        return self.kept / self.now


def cases(sets: Sequence[str]) -> dict[str, tuple[Case, str]]:
    """Name -> kernel and instruction set, of all kernels whose ratio is kept."""
    found = kernels.cases([MODEL], list(kernels.BOUNDS), ROWS, LENGTHS)
    return {f"{isa}: {case.kernel}, {case.dtype}, {case.shape}": (case, isa)
            for case in found for isa in sets if isa != REFERENCE}


def ratio(case: Case, isa: str, threads: int) -> float:
    """Time of the portable kernel over the time in ``isa``, the median of pairs that are measured in turn."""
    make, _ = case.build()
    ours, reference = make(isa, threads), make(REFERENCE, threads)
    calls = [max(1, int(kernels.PART / max(work.time(2) / 2, 1e-9))) for work in (ours, reference)]
    pairs = []
    for _ in range(PAIRS):
        fast, slow = (work.time(count) / count for work, count in zip((ours, reference), calls, strict=True))
        pairs.append(slow / fast)
    return statistics.median(pairs)


def measure(sets: Sequence[str], threads: int, track: Callable[[Iterable], Iterable] = iter) -> dict[str, float]:
    """The ratio of every kernel of :func:`cases`, by its name: the median of :data:`ROUNDS` rounds."""
    known = cases(sets)
    found: dict[str, list[float]] = {name: [] for name in known}
    for name in track(list(known) * ROUNDS):
        found[name].append(ratio(*known[name], threads))
    return {name: round(statistics.median(ratios), 2) for name, ratios in found.items()}


def keep(file: Path, ratios: dict[str, float], threads: int) -> None:
    """Write ratios with what they were measured on."""
    about = machine.describe()
    content = {"command": machine.command(), "machine": {key: about[key] for key in ("kind", "cpu", "caches")},
               "threads": threads, "ratios": ratios}
    write_json(file, content)


def read(file: Path) -> dict[str, Any]:
    """The content of a file that :func:`keep` wrote on a host of this kind.

    Raises
    ------
    DataError
        It cannot be read or is no such file.
    UsageError
        It is of another kind of host.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        kind, threads, ratios = content["machine"]["kind"], content["threads"], content["ratios"]
        if not ratios or not all(isinstance(value, float) and value > 0 for value in ratios.values()) or threads < 1:
            raise ValueError("no positive ratios")
    except OSError as error:
        raise DataError(f"{file}: it cannot be read ({error.strerror}); --keep FILE writes one.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: it is no file of kernels' ratios; --keep FILE writes one.") from error
    if kind != machine.kind():
        raise UsageError(f"--against {file}: it is of {kind} and this host is {machine.kind()}; ratios of two kinds "
                         "say nothing about a change. --keep FILE writes one for this kind.")
    return content


def against(content: dict[str, Any], track: Callable[[Iterable], Iterable] = iter) -> list[Change]:
    """Measure the kernels of a file again; one that looks slower up to :data:`TRIES` times, of which the best counts.

    Raises
    ------
    BertpassError
        This host or this version lacks a kernel of the file.
    """
    kept = content["ratios"]
    sets = list(dict.fromkeys(name.partition(":")[0] for name in kept))
    known = cases(sets)
    missing = [name for name in kept if name not in known]
    if missing:
        raise BertpassError(f"there is no kernel '{missing[0]}' any more; --keep FILE writes a new file.")
    found = []
    for name in track(kept):
        best = 0.0
        for _ in range(TRIES):
            case, isa = known[name]
            best = max(best, ratio(case, isa, content["threads"]))
            if kept[name] / best <= TOLERANCE:
                break
        found.append(Change(name, kept[name], round(best, 2)))
    return found
