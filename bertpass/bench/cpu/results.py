"""What a run found, and the ratios that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bertpass.bench.timing import Timing
from bertpass.bench.variants import Variant
from bertpass.bench.workloads import Workload, flops
from bertpass.model.config import EncoderConfig


@dataclass
class Measured:
    """One variant on one model.

    ``relative_error`` is the L2 norm of the difference from the reference over the reference's, ``largest_error`` the
    largest absolute difference, both over the tokens of real sentences; None where it did not come so far.
    ``resident_bytes`` is the process's memory once the model is loaded, ``peak_bytes`` the most that it ever was.
    ``failure`` is a sentence where something went wrong; an engine whose outputs are wrong was not timed.
    """

    variant: Variant
    about: dict[str, Any] = field(default_factory=dict)
    load_seconds: float | None = None
    resident_bytes: int = 0
    peak_bytes: int = 0
    relative_error: float | None = None
    largest_error: float | None = None
    failure: str | None = None
    timings: dict[str, Timing] = field(default_factory=dict)  # by the workload's name

    @property
    def agrees(self) -> bool | None:
        """Whether the relative error is within the bound; None where it is not known."""
        return None if self.relative_error is None else self.relative_error <= self.variant.bound

    def best(self, workloads: Iterable[Workload], family: str) -> tuple[Workload, Timing] | None:
        """Its fastest layout of a family, or None where it was not timed there."""
        found = [(w, self.timings[w.name]) for w in workloads if w.family == family and w.name in self.timings]
        return min(found, key=lambda pair: pair[1].median, default=None)


@dataclass(frozen=True)
class Ratio:
    """Times of peers over a time of ours for one family of workloads: above 1 ours is faster.

    ``same`` is against the best peer of the same precision, ``overall`` against the best one of any, ``padded``
    against the best peer of the same precision that pads to the recipe's length (ragged batches only); each with the
    peer's name, and None where there is no such peer.
    """

    same: tuple[float, str] | None
    overall: tuple[float, str] | None
    padded: tuple[float, str] | None


@dataclass
class ModelResults:
    """All variants on one model, in the order in which they ran.

    ``left_out`` has the families that a time budget kept from being timed, with the seconds that they need at least.
    """

    model: str
    source: str
    config: EncoderConfig
    workloads: list[Workload]
    reference: str
    measured: list[Measured] = field(default_factory=list)
    others_load: float = 0.0
    left_out: dict[str, float] = field(default_factory=dict)

    @property
    def families(self) -> list[str]:
        return list(dict.fromkeys(w.family for w in self.workloads))

    def of(self, name: str) -> Measured | None:
        return next((m for m in self.measured if m.variant.name == name), None)

    def ratio(self, ours: Measured, family: str) -> Ratio | None:
        """``ours`` against the peers; None where ours was not timed."""
        own = ours.best(self.workloads, family)
        if own is None:
            return None
        peers = [m for m in self.measured if not m.variant.ours]
        alike = [m for m in peers if m.variant.precision == ours.variant.precision]
        padded = [w for w in self.workloads if w.family == family and w.layout.startswith("padded")]
        return Ratio(self._against(own[1], alike, self.workloads, family),
                     self._against(own[1], peers, self.workloads, family),
                     self._against(own[1], alike, padded, family))

    @staticmethod
    def _against(own: Timing, peers: Sequence[Measured], workloads: Sequence[Workload], family: str,
                 ) -> tuple[float, str] | None:
        found = [(best[1].median / own.median, peer.variant.name) for peer in peers
                 if (best := peer.best(workloads, family)) is not None]
        return min(found, default=None)

    def share(self, workload: Workload, timing: Timing, peak: float | None) -> float | None:
        """Share of ``peak`` (operations a second) that the tokens which are not padding account for."""
        if not peak:
            return None
        return flops(self.config, workload.lengths) / (timing.median * 1e-3) / peak

    def to_dict(self, peaks: dict[str, float]) -> dict[str, Any]:
        """For result files."""
        entries = []
        for m in self.measured:
            timings = {}
            for w in self.workloads:
                if w.name in m.timings:
                    share = self.share(w, m.timings[w.name], peaks.get(m.variant.precision))
                    timings[w.name] = {**m.timings[w.name].to_dict(),
                                       "share_of_peak": None if share is None else round(share, 4)}
            ratios = {}
            for family in self.families if m.variant.ours else ():
                ratio = self.ratio(m, family)
                if ratio is not None:
                    ratios[family] = {key: value and {"ratio": round(value[0], 3), "peer": value[1]} for key, value in
                                      (("same_precision", ratio.same), ("overall", ratio.overall),
                                       ("padded", ratio.padded))}
            entries.append({
                "name": m.variant.name, "engine": m.variant.engine, "precision": m.variant.precision,
                "ours": m.variant.ours, "options": m.variant.options, "about": m.about,
                "load_seconds": m.load_seconds and round(m.load_seconds, 2), "resident_bytes": m.resident_bytes,
                "peak_bytes": m.peak_bytes,
                "relative_error": m.relative_error, "largest_error": m.largest_error, "bound": m.variant.bound,
                "agrees": m.agrees, "failure": m.failure,
                "timings": timings, **({"ratios": ratios} if m.variant.ours else {})})
        return {"model": self.model, "source": self.source, "encoder": self.config.to_dict(),
                "reference": self.reference, "others_load": round(self.others_load, 3),
                "left_out": {family: round(seconds, 1) for family, seconds in self.left_out.items()},
                "workloads": [{"name": w.name, "family": w.family, "layout": w.layout, "lengths": list(w.lengths),
                               "gflop": round(flops(self.config, w.lengths) / 1e9, 3)} for w in self.workloads],
                "engines": entries}
