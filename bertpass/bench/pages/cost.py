"""What a million requests cost: measured results, prices of machines, a bound on the latency.

A price belongs to the machine on which the figures were measured. It is applied to another machine only as an
extrapolation: as many copies of the measured configuration as the machine has cores for, each as fast as measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpass.bench.pages import result_files
from bertpass.bench.pages.prices import Price, PriceList
from bertpass.bench.pages.result_files import Point, ResultFile
from bertpass.errors import DataError, UsageError, unknown

MILLION = 1_000_000


@dataclass(frozen=True)
class Source:
    """A result file: what it was measured on and by which command."""

    file: str
    cpu: str
    cpus: int
    command: str
    revision: str


@dataclass(frozen=True)
class Measurement:
    """One engine in one configuration on one kind of request, from one point of a result file.

    ``request`` is "128 tokens" for full rows, "sst" or "squad" for ragged batches; ``latency`` is the 90th percentile
    of the rounds' medians of a batch in milliseconds, that of the slowest instance; ``per_second`` counts sequences;
    ``error`` is the relative L2 error of the token states against float32, None where it was not measured.
    """

    source: Source
    point: Point
    model: str
    engine: str
    precision: str
    request: str
    rows: int
    instances: int
    cores: int
    latency: float
    median: float
    per_second: float
    error: float | None
    noisy: bool

    @property
    def configuration(self) -> str:
        return f"{self.instances} x {self.cores}"


@dataclass(frozen=True)
class Offer:
    """A measurement at a price. ``copies`` of the configuration run on the machine; it is measured where that is 1 and
    the machine is the one of the result file, else ``extrapolated``."""

    measurement: Measurement
    price: Price
    copies: int = 1
    extrapolated: bool = False

    @property
    def dollars(self) -> float:
        """For a million requests."""
        return self.price.per_million(self.per_second)

    @property
    def per_second(self) -> float:
        return self.measurement.per_second * self.copies

    def to_dict(self) -> dict[str, Any]:
        """For result files."""
        m = self.measurement
        return {"dollars_per_million": round(self.dollars, 4), "machine": self.price.name,
                "dollars_per_hour": self.price.dollars_per_hour, "extrapolated": self.extrapolated,
                "copies": self.copies, "model": m.model, "engine": m.engine, "precision": m.precision,
                "request": m.request, "rows": m.rows, "instances": m.instances * self.copies, "cores": m.cores,
                "latency_p90_ms": m.latency, "latency_median_ms": m.median,
                "sequences_per_second": round(self.per_second, 2), "relative_error": m.error, "noisy": m.noisy,
                "source": dataclasses.asdict(m.source)}


def read(file: Path) -> list[Measurement]:
    """The measurements of a file of ``bench cpu`` or ``bench scaling``.

    Raises
    ------
    DataError
        It is no such file.
    """
    return measurements(result_files.read(file))


def measurements(file: ResultFile) -> list[Measurement]:
    """The points of a file that was read, as :func:`read`."""
    if file.kind not in ("cpu", "scaling"):
        raise DataError(f"{file.name}: it is of bertpass bench {file.kind}; give files of bench cpu or scaling.")
    try:
        about = file.environment
        source = Source(file.name, about["machine"]["cpu"], about["machine"]["cpus_usable"], about["command"],
                        about["revision"] or "unknown")
        return [_measurement(point, source, about["threads"]) for point in file.points]
    except (KeyError, TypeError) as error:
        raise DataError(f"{file.name}: it is not whole ({type(error).__name__}: {error}); give files that bertpass "
                        "bench cpu or scaling wrote.") from error


def _measurement(point: Point, source: Source, threads: int) -> Measurement:
    """Of a ragged batch a point is the fastest layout."""
    instances, cores = map(int, (point.configuration or f"1 x {threads}").split(" x "))
    median, high, rate = point.middle.value, point.high, point.rate
    if high is None:
        raise KeyError("p90_ms")
    return Measurement(source, point, point.model, point.engine, point.precision,
                       point.workload if point.length is None else f"{point.length} tokens", point.rows, instances,
                       cores, high.value, median, rate.value if rate else point.rows / median * 1e3,
                       point.error.value if point.error else None, point.noisy)


def owners(words: Sequence[str], files: Sequence[str], prices: PriceList) -> dict[str, Price]:
    """Result file's name -> its machine, from NAME (all files) and FILE=NAME; UsageError for unknown ones."""
    found: dict[str, Price] = {}
    for word in words:
        file, separator, name = word.rpartition("=")
        if not separator:
            found |= dict.fromkeys(files, prices.of(name))
            continue
        file = Path(file).name
        if file not in files:
            raise UsageError(f"--machine {word}: {unknown('result file', file, files)}")
        found[file] = prices.of(name)
    return found


def offers(measurements: Iterable[Measurement], owned: Mapping[str, Price], prices: PriceList, extrapolate: bool,
           ) -> list[Offer]:
    """Every measurement at the price of its own machine and, if asked for, at those of the others; cheapest first."""
    found = []
    for m in measurements:
        own = owned.get(m.source.file)
        if own is not None:
            found.append(Offer(m, own))
        for price in prices.machines.values() if extrapolate else ():
            copies = price.cores // (m.instances * m.cores)
            if price != own and copies and not price.accelerator:
                found.append(Offer(m, price, copies, extrapolated=True))
    return sorted(found, key=lambda offer: (round(offer.dollars, 9), offer.measurement.latency,
                                         offer.price.dollars_per_hour))


def within(found: Iterable[Offer], slo: float, most_error: float | None) -> list[Offer]:
    """Those whose latency is at most ``slo`` milliseconds, and whose error, if it is bounded, is known and not more."""
    return [offer for offer in found if offer.measurement.latency <= slo
            and (most_error is None or (offer.measurement.error is not None and offer.measurement.error <= most_error))]
