"""Two runs of one kind side by side: ratios, and a verdict only where the spreads allow one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertpass.bench.pages.result_files import SAMPLES, Point, ResultFile
from bertpass.bench.timing import shown
from bertpass.errors import DataError

SAME, FASTER, SLOWER, UNKNOWN = "same", "faster", "slower", "no spread"
#: parts of the environment that decide figures; of the rest, such as the command, differences are expected
DECIDING = ("machine", "versions", "revision", "instruction_set", "threads", "cpus", "topology", "memory")
HEADER = ("model", "workload", "engine", "first", "second", "ratio", "verdict")


@dataclass(frozen=True)
class Pair:
    """One engine on one workload in both runs."""

    first: Point
    second: Point

    @property
    def ratio(self) -> float:
        """Time of the second over the time of the first: above 1 the second is slower, for rates likewise."""
        over, under = self.second.middle.value, self.first.middle.value
        return under / over if self.first.unit == SAMPLES else over / under

    @property
    def verdict(self) -> str:
        """Of the second run: faster or slower only where the spreads do not overlap."""
        a, b = _spread(self.first), _spread(self.second)
        if a is None or b is None:
            return UNKNOWN
        if a[0] <= b[1] and b[0] <= a[1]:
            return SAME
        return SLOWER if self.ratio > 1 else FASTER

    @property
    def cells(self) -> tuple[str, ...]:
        """Of the table, as :data:`HEADER` names them."""
        p = self.first
        engine = f"{p.engine}, {p.configuration}" if p.configuration else p.engine
        return p.model, p.workload, engine, _text(p), _text(self.second), f"{self.ratio:.2f}x", self.verdict


@dataclass(frozen=True)
class Comparison:
    """``pairs`` of what both runs have; ``alone`` names what only one has; ``differences`` of what decides figures."""

    pairs: Sequence[Pair]
    alone: Sequence[str]
    differences: Sequence[tuple[str, str, str]]

    def above(self, limit: float) -> list[Pair]:
        """Those that are slower beyond their spreads and by more than ``limit`` times."""
        return [pair for pair in self.pairs if pair.verdict == SLOWER and pair.ratio > limit]


def compare(first: ResultFile, second: ResultFile) -> Comparison:
    """Pair the points of two runs.

    Raises
    ------
    DataError
        They are of different kinds, have no engine and workload in common, or one file has one of them twice.
    """
    if first.kind != second.kind:
        raise DataError(f"{first.name} is of bench {first.kind}, {second.name} of bench {second.kind}; compare files "
                        "of one kind.")
    a, b = _by_key(first), _by_key(second)
    pairs = [Pair(a[key], b[key]) for key in a if key in b]
    if not pairs:
        raise DataError(f"{first.name} and {second.name} have no model, engine and workload in common; measure both "
                        "with the same flags.")
    alone = [f"{', '.join(filter(None, key))}: only in the {word}" for word, keys, others in
             (("first", a, b), ("second", b, a)) for key in keys if key not in others]
    return Comparison(pairs, alone, differences(first.environment, second.environment))


def _by_key(file: ResultFile) -> dict[tuple[str, ...], Point]:
    found: dict[tuple[str, ...], Point] = {}
    for point in file.points:
        if point.key in found:
            raise DataError(f"{file.name}: {', '.join(filter(None, point.key))} is in it twice; keep one of them.")
        found[point.key] = point
    return found


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(name, first, second) of what decides figures and is not equal; "none" for what one of them lacks."""
    a, b = dict(_flat(first)), dict(_flat(second))
    names = sorted(dict.fromkeys([*a, *b]), key=lambda name: DECIDING.index(name.partition(", ")[0]))
    return [(name, a.get(name, "none"), b.get(name, "none")) for name in names if a.get(name) != b.get(name)]


def _flat(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in DECIDING:
        value = environment.get(key)
        if isinstance(value, Mapping):
            yield from ((f"{key}, {name}", str(part)) for name, part in value.items())
        elif value is not None:
            yield key, str(value)


def _spread(p: Point) -> tuple[float, float] | None:
    return None if p.low is None or p.high is None else (p.low.value, p.high.value)


def _text(p: Point) -> str:
    spread = _spread(p)
    return f"{shown(p.middle.value)} {p.unit}" if spread is None else \
        f"{shown(p.middle.value)} ({shown(spread[0])}–{shown(spread[1])}) {p.unit}"


def markdown(found: Comparison, first: str, second: str) -> str:
    """The comparison of the files of these names as a page."""
    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"

    parts = [f"# {first} and {second}\n"]
    if found.differences:
        parts.append("\n## What differs\n\n" + row(("", "first", "second")) + "|---|---|---|\n"
                     + "".join(map(row, found.differences)))
    parts.append("\n## Ratios\n\nTime of the second over the first: above 1 the second is slower. A verdict only where "
                 "the spreads do not overlap.\n\n" + row(HEADER) + row(["---"] * 3 + ["---:"] * 3 + ["---"])
                 + "".join(row(pair.cells) for pair in found.pairs))
    if found.alone:
        parts.append("\n## In one of them only\n\n" + "".join(f"- {line}\n" for line in found.alone))
    return "".join(parts)
