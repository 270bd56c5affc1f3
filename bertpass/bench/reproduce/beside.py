"""Contenders of :mod:`bertpass.bench.peers` by workloads, within a budget: what entries about other libraries share.

What is kept of a part::

    {"model": ..., "engines": {name: bertpass.bench.peers.run.Entry.to_dict()}, "left_out": {workload: seconds}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bertpass.base.paths import cache_folder
from bertpass.base.variables import value
from bertpass.bench import environments
from bertpass.bench.peers import run
from bertpass.bench.peers.contenders import REFERENCE, Contender
from bertpass.bench.reproduce.session import Session
from bertpass.bench.reproduce.tables import Kept
from bertpass.progress import log

ROUNDS, SECONDS = 5, 60.0  # for the rounds of one workload


def files() -> Path:
    """Where the folders with the peers' files are kept."""
    folder = cache_folder() / "peers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def data() -> run.Data:
    """Real texts of BERTPASS_DATA; UsageError where it is not set."""
    return run.read_data(value("BERTPASS_DATA") or None)


def measure(session: Session, name: str, folder: Path, contenders: Sequence[Contender],
            works: Sequence[run.Workload], checked: Sequence[Any], reference: str = REFERENCE,
            scored: run.Data | None = None) -> None:
    """Time the contenders on the workloads that ``session`` does not hold yet, then score their vectors.

    A workload begins only while there is budget left, and so does a contender's score; the others are noted as left
    out. ``checked`` are the texts or rows whose vectors are compared with those of ``reference``, ``scored`` the pairs
    whose correlation is measured.
    """
    part = session.part(name)
    over = part.setdefault("left_out", {})
    over.clear()
    before: dict[str, Any] = part.get("engines", {})
    wanted = [work for work in works if not any(work.name in one["timings"] for one in before.values())]
    unscored = scored is not None and any(one["spearman"] is None for one in before.values())
    if not wanted and not unscored:
        return
    with run.running(folder, contenders, session.settings.threads, session.cpus,
                     partial(log.info, "%s: %s", session.entry.name)) as found:
        found.others = session.others
        found.check(checked, reference)
        for work in wanted:
            if session.left() <= 0:
                over[work.name] = 0.0
                continue
            found.time(work, ROUNDS, min(SECONDS, session.left()))
            part["engines"] = _joined(before, found)
            session.keep()
        if scored is not None:
            found.score(scored, lambda who: session.left() > 0 and before.get(who, {}).get("spearman") is None)
            part["engines"] = _joined(before, found)
    session.keep()


def _joined(before: Mapping[str, Any], found: run.Run) -> dict[str, Any]:
    """What was found now, and what an earlier run had found and this one did not."""
    joined = {}
    for who, entry in found.entries.items():
        now, then = entry.to_dict(), before.get(who, {})
        score = then.get("spearman") if now["spearman"] is None else now["spearman"]
        joined[who] = {**now, "spearman": score, "timings": {**then.get("timings", {}), **now["timings"]}}
    return joined


def median(kept: Kept, name: str, who: str, work: str) -> float | None:
    """Milliseconds, or None where it was not measured."""
    found = kept.get(name, {}).get("engines", {}).get(who, {}).get("timings", {}).get(work)
    return None if found is None else float(found["median_ms"])


def figure(kept: Kept, name: str, who: str, key: str) -> float | None:
    """Another number of a contender, such as "relative_error" or "spearman"."""
    found: float | None = kept.get(name, {}).get("engines", {}).get(who, {}).get(key)
    return found


def why_not(kept: Kept, name: str, who: str) -> str:
    """What a row says of a contender that was not measured."""
    failure = kept.get(name, {}).get("engines", {}).get(who, {}).get("failure")
    return "not measured yet" if failure is None else str(failure)


def missing(*names: str) -> list[str]:
    """The environments that are not here, a phrase each."""
    return [f"what is in .venv-{name} (`make {name}`)" for name in names if not environments.provided(name)]
