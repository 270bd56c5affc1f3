"""Where the instances of a server are, and how long the rows are that each of them takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from bertpass import placement
from bertpass.placement import Instance, Topology
from bertpass.serving.options import ServeOptions


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
