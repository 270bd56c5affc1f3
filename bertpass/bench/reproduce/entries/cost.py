"""Dollars for a million requests: this machine's throughput at the price of an instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertpass import machine
from bertpass.bench.pages import prices
from bertpass.bench.reproduce import grid, picture
from bertpass.bench.reproduce.entries.latency import deployed, plain
from bertpass.bench.reproduce.session import Entry, Session
from bertpass.bench.reproduce.tables import NEEDS_GPU, Kept, Published, Row, Table, ratio
from bertpass.bench.variants import REFERENCE

QUICK = "4x128"
HOUR = 3600.0


def measure(session: Session) -> None:
    published, settings = session.published, session.settings
    shape = QUICK if settings.quick else f"{published['batch']}x{published['length']}"
    session.part("request")["shape"] = shape
    session.part("request")["prices"] = [vars(instance) for instance in settings.prices]
    session.part("request")["processors"] = machine.usable_cpus()
    variants = [plain(), *deployed()]
    grid.measure(session, "grid", settings.bert_model, [v for v in variants if v.name != "passes float16"], [shape])


def throughput(kept: Kept) -> dict[str, float]:
    """Sequences a second of each engine that was measured."""
    shape = kept.get("request", {}).get("shape", QUICK)
    batch = int(shape.split("x")[0])
    found = {name: grid.median(kept, "grid", shape, name)
             for name in (REFERENCE, *(v.name for v in deployed()))}
    return {name: batch / (ms / 1e3) for name, ms in found.items() if ms}


def dollars(price: float, requests: int, rate: float) -> float:
    """What ``requests`` cost at ``price`` dollars an hour and ``rate`` requests a second."""
    return price / HOUR * requests / rate


def _instances(published: Published, kept: Kept) -> list[Mapping[str, Any]]:
    """The published ones with their prices, then those of --price."""
    listed = prices.read().machines
    own = kept.get("request", {}).get("prices", [])
    return [*({**one, "dollars_per_hour": listed[one["name"]].dollars_per_hour, "vcpus": listed[one["name"]].vcpus}
              for one in published["instances"]), *own]


def tables(published: Published, kept: Kept) -> list[Table]:
    rates, requests = throughput(kept), published["requests"]
    processors = kept.get("request", {}).get("processors")
    rows: list[Row] = []
    for instance in _instances(published, kept):
        price, theirs = instance["dollars_per_hour"], instance.get("dollars")
        for name, rate in rates.items():
            here = dollars(price, requests, rate)
            rows.append({"instance": instance["name"], "price": price, "vcpus": instance.get("vcpus"),
                         "engine": grid.label(name),
                         "published": theirs, "here": here, "ratio": ratio(here, theirs),
                         "conditions": _conditions(instance, processors)})
    main = Table(
        f"Dollars for {requests:,} requests", {
            "instance": "price of", "price": "dollars an hour", "vcpus": "its processors", "engine": "engine here",
            "published": "published, $", "here": "here, $", "ratio": "here / published", "conditions": "conditions"},
        rows, "“here” is the throughput of THIS machine at that instance's price: nothing was measured on that "
        "instance. Where the source gives no figure there is a dash.")
    shape = kept.get("request", {}).get("shape", "")
    speed = [{"engine": grid.label(name), "rate": rate, "requests": f"{requests / rate / HOUR:.1f} h"} for name, rate in
             rates.items()]
    implied = [{"engine": f"published: {i['name']}", "rate": requests * i["dollars_per_hour"] / HOUR / i["dollars"],
                "requests": f"{i['dollars'] / i['dollars_per_hour']:.1f} h"} for i in _instances(published, kept)
               if "dollars" in i]
    return [main, Table("Throughput behind it", {
        "engine": "engine", "rate": "sequences a second", "requests": f"time for {requests:,}"}, [*speed, *implied],
        f"Measured with full rows at (batch x length) {shape}; the published rates follow from cost and price.")]


def _conditions(instance: Mapping[str, Any], processors: int | None) -> str:
    theirs = f"{instance['vcpus']} processors" if instance.get("vcpus") else "its processors"
    said = f"published: {instance['conditions']}; " if instance.get("conditions") else ""
    return f"{said}this machine has {processors}, the instance {theirs}"


def draw(path: Path, published: Published, kept: Kept, subtitle: str) -> None:
    rates: Sequence[tuple[str, float]] = list(throughput(kept).items())
    groups = {f"{i['name']}\n${i['dollars_per_hour']:g} an hour": {
        "published": i.get("dollars"),
        **{f"here: {grid.label(name)}": dollars(i["dollars_per_hour"], published["requests"], rate)
           for name, rate in rates}} for i in _instances(published, kept)}
    picture.bars(path, subtitle, f"Dollars for {published['requests']:,} requests of {published['length']} tokens",
                 "dollars, logarithmic. here: THIS machine's throughput at that instance's price, not measured on it",
                 {"": groups}, log=True)


ENTRY = Entry(
    "cost", "Dollars for a million requests", "MXNet on this CPU at batch 128; --price adds instances", 4, measure,
    tables, draw, lambda: [f"g4dn.xlarge in FP16 ({NEEDS_GPU})", "the CPU instances themselves"], {"yaml": "plan"})
