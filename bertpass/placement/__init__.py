"""Which processors and which memory a process takes: the machine's topology, instances on it, and binding to them."""

from bertpass.placement.plan import KINDS, Instance, automatic, plan
from bertpass.placement.topology import Core, Topology, here, read

__all__ = ["KINDS", "Core", "Instance", "Topology", "automatic", "here", "plan", "read"]
