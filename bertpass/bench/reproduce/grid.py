"""Engines by batch shapes, interleaved, within a budget: the measuring that most entries share.

What is kept of a grid::

    {"model": ..., "source": ..., "engines": {name: {"precision", "about", "relative_error", "failure"}},
     "times": {shape: {name: Timing.to_dict()}}, "left_out": {shape: expected seconds}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from bertpass.bench import quiet, timing, workloads
from bertpass.bench.cpu import run as cpu
from bertpass.bench.reproduce.session import Session
from bertpass.bench.variants import REFERENCE, Variant
from bertpass.progress import Bar, log

ROUNDS = 7
SECONDS = 6.0  # for the rounds of one shape
SLOW, FEW = 10.0, 2  # seconds of one round of all engines from which so many rounds are enough
WARM = 2  # runs of each engine before a shape's rounds


def measure(session: Session, name: str, model: str, variants: Sequence[Variant], shapes: Sequence[str],
            threads: int | None = None) -> None:
    """Time the variants on the shapes that ``session`` does not hold yet, the small ones first.

    Each shape is kept as soon as it is measured. One whose time, estimated from the last one, goes over the budget is
    left out, and so are all that need more work. ``threads`` are the session's unless they are given, the other
    parameters as in :func:`bertpass.bench.cpu.run.running`.
    """
    kept = session.part(name)
    times, over = kept.setdefault("times", {}), kept.setdefault("left_out", {})
    over.clear()
    wanted = {shape: workloads.of_family(shape)[0] for shape in shapes if shape not in times}
    if not wanted:
        return
    cpus = session.cpus if threads is None else quiet.pick(threads, session.cpus)
    threads = threads or session.settings.threads
    plan = cpu.Plan(variants, list(wanted.values()), ROUNDS, SECONDS, threads, cpus)
    with cpu.running(plan, model, partial(tell_loading, session.entry.name)) as run:
        run.others = session.others
        work = {shape: workloads.flops(run.config, load.lengths) for shape, load in wanted.items()}
        kept["model"], kept["source"], kept["threads"] = model, run.source, threads
        with Bar(session.entry.name, int(sum(work.values()) / 1e9), "GFLOP") as bar:
            for shape in sorted(wanted, key=lambda shape: work[shape]):
                one = _expected(times, work, shape, run.config)
                rounds = ROUNDS if one < SLOW else FEW
                expected = one * (WARM + min(rounds, timing.LEAST_ROUNDS))
                gflop = work[shape] / 1e9
                if expected > session.left():
                    over[shape] = round(expected, 1)
                    bar.advance(int(gflop), f"{shape} goes over the budget")
                    continue
                run.tell = partial(_advance, bar, gflop / rounds)
                found = run.time([wanted[shape]], rounds, SECONDS)
                times[shape] = {who: timings[shape].to_dict() for who, timings in found.items()}
                kept["engines"] = engines(run)
                session.keep()
    session.keep()


def tell_loading(name: str, _: int, note: str) -> None:
    """Says which engine of an entry is loaded, for :func:`bertpass.bench.cpu.run.running`."""
    if note:
        log.info("%s: %s", name, note)


def engines(run: cpu.Run) -> dict[str, Any]:
    """What a part keeps of each engine under "engines"."""
    return {name: {"precision": found.variant.precision, "about": _brief(found.about), "failure": found.failure,
                   "relative_error": found.relative_error, "largest_error": found.largest_error}
            for name, found in run.measured.items()}


def _brief(about: Mapping[str, Any]) -> dict[str, Any]:
    """An engine's description with the passes as name -> rewrites: the names of all parameters are not wanted here."""
    passes = about.get("passes")
    return {**about, **({"passes": {p["name"]: p["rewrites"] for p in passes["passes"]}} if passes else {})}


def _advance(bar: Bar, share: float, rounds: int, note: str) -> None:
    bar.advance(round(rounds * share), note)


def _expected(times: Mapping[str, Mapping[str, Any]], work: Mapping[str, float], shape: str, config: Any) -> float:
    """Seconds of one call of every engine, from the measured shape with the most work; 0 before the first."""
    if not times:
        return 0.0
    done = {s: work.get(s) or workloads.flops(config, workloads.of_family(s)[0].lengths) for s in times}
    last = max(done, key=lambda s: done[s])
    return sum(t["median_ms"] for t in times[last].values()) / 1e3 * work[shape] / done[last]


def label(variant: str) -> str:
    """A variant's name for people."""
    return "plain MXNet" if variant == REFERENCE else variant


def median(kept: Mapping[str, Any], grid: str, shape: str, variant: str) -> float | None:
    """Milliseconds, or None where it was not measured."""
    found = kept.get(grid, {}).get("times", {}).get(shape, {}).get(variant)
    return None if found is None else float(found["median_ms"])


def why_not(kept: Mapping[str, Any], grid: str, shape: str) -> str:
    """What a row says of a shape that was not measured."""
    return left_out(kept.get(grid, {}), shape)


def left_out(part: Mapping[str, Any], shape: str) -> str:
    """The same of any part that notes the expected seconds of what it left out."""
    expected = part.get("left_out", {}).get(shape)
    return "not measured yet" if expected is None else f"left out: about {expected / 60:.1f} min, over the budget"


def failures(kept: Mapping[str, Any]) -> list[str]:
    """A sentence for each engine of all grids, and of bench.instances.scaling, that could not run or was wrong."""
    found = []
    for part in (part for part in kept.values() if isinstance(part, Mapping)):
        if "failures" in part:
            found += [f"{one['engine']} as {one['instances']} x {one['cores']}: {one['failure']}"
                      for one in part["failures"]]
        else:
            found += [f"{name}: {engine['failure']}" for name, engine in part.get("engines", {}).items()
                      if engine["failure"]]
    return found
