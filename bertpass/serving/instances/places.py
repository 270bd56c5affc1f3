"""Where the instances of a server are, and how long the rows are that each of them takes."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

from bertpass import placement
from bertpass.placement import Instance, Topology
from bertpass.placement.claim import Claim
from bertpass.serving.options import ServeOptions

log = logging.getLogger("bertpass.serving")


def chosen(topology: Topology, options: ServeOptions, longest: int) -> tuple[list[Instance], Claim | None]:
    """The instances that the options ask for, each on cores that no other server has, or on no particular ones.

    They are pinned where they take all cores that there are. Where they take a part of them, it is a part that no
    other server of this person on this machine has, by the claim that comes with them. A quota below the processors of
    the mask is a share of them all: several servers with such shares would otherwise sit on the same first ones.

    Parameters and errors: see :func:`places`.
    """
    found = places(topology, options, longest)
    if not options.pin:
        return _free(found), None
    if not topology.owned:
        log.info("instances are not pinned: the cgroup quota of %g processors is a share of %d.", topology.quota,
                 sum(len(core.cpus) for core in topology.cores))
        return _free(found), None
    taken = [core for place in found for core in place.cores]
    kinds = {core.kind for core in taken}
    others = [core for core in topology.cores if core not in taken and core.kind in kinds]
    if not others:
        return found, None
    try:
        claim = Claim([*taken, *others], len(taken))
    except OSError:  # there is no folder for the locks
        return _free(found), None
    if not claim.cpus:
        log.warning("instances are not pinned: other servers have the cores.")
        return _free(found), None
    mine = dataclasses.replace(topology, cores=tuple(core for core in topology.cores if core.cpus[0] in claim.cpus))
    return places(mine, options, longest), claim


def _free(found: Sequence[Instance]) -> list[Instance]:
    """The same without particular processors and memory."""
    return [dataclasses.replace(place, memory=(), pinned=False) for place in found]


def places(topology: Topology, options: ServeOptions, longest: int) -> list[Instance]:
    """The instances that the options ask for.

    Parameters
    ----------
    longest
        Tokens of the longest row that a model takes.

    Raises
    ------
    UsageError
        There are not enough cores.
    """
    if options.sizes:
        found = placement.plan(topology, sizes=options.sizes)
        limits = row_limits(options.sizes, options.lengths, longest)
        return [dataclasses.replace(place, longest=limit) for place, limit in zip(found, limits, strict=True)]
    count = options.instances
    if count is None and options.cores_per_instance is None:
        count = placement.automatic(topology)
    return placement.plan(topology, count, options.cores_per_instance)


def row_limits(sizes: Sequence[int], lengths: Sequence[int], longest: int) -> list[int | None]:
    """Tokens of the longest row for each instance; None, any, for the largest ones.

    Without lengths an instance takes rows up to the share of the longest that it and all smaller ones have of the
    cores: of 1 and 3 cores and 512 tokens, the small one takes up to 128.
    """
    most = max(sizes)
    if lengths:
        return [*lengths, None]
    return [None if size == most else longest * sum(each for each in sizes if each <= size) // sum(sizes)
            for size in sizes]
