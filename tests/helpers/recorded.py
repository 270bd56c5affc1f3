"""Recorded machines: short descriptions in topologies/, expanded into the files that the kernel shows of them."""

import json
from pathlib import Path

from bertpass import machine
from bertpass.placement import Topology, read
from bertpass.placement.topology import format_list, parse_list

FOLDER = Path(__file__).parent / "topologies"


def write(file: Path, text: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n", encoding="utf-8")


def tree(name: str, root: Path) -> Path:
    """Write the sysfs tree of a recorded machine under ``root``; returns ``root``."""
    told = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    offline = set(parse_list(told.get("offline", "")))
    system, nodes, pmus = root / "devices/system", {}, {}
    everything = set()
    for block in told["cores"]:
        cores = [[n] for n in parse_list(block["cpus"])]
        if "siblings" in block:
            cores = [[*a, b] for a, b in zip(cores, parse_list(block["siblings"]), strict=True)]
        for number, threads in enumerate(cores):
            everything |= set(threads)
            online = [n for n in threads if n not in offline]
            for cpu in online:
                nodes.setdefault(block["node"], []).append(cpu)
                pmus.setdefault(block.get("pmu"), []).append(cpu)
                folder = system / f"cpu/cpu{cpu}"
                write(folder / "topology/physical_package_id", block["socket"])
                write(folder / "topology/thread_siblings_list", format_list(online))
                write(folder / "cache/index0/level", 1)
                write(folder / "cache/index0/shared_cpu_list", format_list(online))
                if "capacity" in block:
                    write(folder / "cpu_capacity", block["capacity"])
                if "l3" in block:
                    shared = block["l3"]
                    if isinstance(shared, int):
                        start = number // shared * shared
                        group = {n for core in cores[start:start + shared] for n in core} - offline
                        shared = format_list(group)
                    write(folder / "cache/index3/level", 3)
                    write(folder / "cache/index3/shared_cpu_list", shared)
    write(system / "cpu/online", format_list(everything - offline))
    if told.get("numa", True):
        write(system / "node/online", format_list(nodes))
        for node, cpus in nodes.items():
            write(system / f"node/node{node}/cpulist", format_list(cpus))
    for pmu, cpus in pmus.items():
        if pmu:
            write(root / "devices" / pmu / "cpus", format_list(cpus))
    return root


def topology(name: str, root: Path) -> Topology:
    """What is read from that tree, cut to what the description allows (its quota through a cgroup v2 file)."""
    told = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    write(root / "cgroup/cpu.max", told.get("quota", "max 100000"))
    write(root / "membership", "0::/")
    allowed, memory = (parse_list(told[key]) if key in told else None for key in ("allowed", "memory"))
    return read(tree(name, root), allowed, memory, machine.cgroup_quota(root / "cgroup", root / "membership"))
