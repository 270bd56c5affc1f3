"""bertpass env: what this machine and this installation have, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bertpass.commands.run import guarded
from bertpass.options import flag, parse


@dataclass
class EnvOptions:
    """Flags of bertpass env."""

    json: bool = flag(False, "write JSON")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    def job() -> None:
        options = parse(EnvOptions, argv, "What this machine and this installation have, and what is missing.")
        from bertpass.jobs.machines import environment
        told = environment.describe()
        print(json.dumps(told, indent=1) if options.json else _page(told))
    return guarded(job)


def _page(told: dict[str, Any]) -> str:
    """The description as lines of at most two columns."""
    machine, native = told["machine"], told["native"]
    rows = [
        ("bertpass", told["bertpass"]), ("python", f"{machine['python']} on {machine['os']}"),
        ("processor", machine["cpu"]),
        ("kind of host", f"{machine['kind']}: result files are kept by it"), ("processors", _processors(machine)),
        ("threads", f"{told['threads']} (from {told['threads_from']})"),
        ("caches", ", ".join(f"{name} {size >> 10:,} KiB" for name, size in machine["caches"].items()) or "not told"),
        ("memory", f"{machine['memory_gib']} GiB"),
        ("features", " ".join(machine["instruction_sets"]) or "none that the engine uses"),
    ]
    if native:
        rows += [("kernels", f"{native['chosen'] or 'none'}: {native['why']}"),
                 ("", f"there are {', '.join(native['instruction_sets'])}")]
        rows += [(f"  {name}", how) for name, how in native["precisions"].items()]
    rows.append(("", ""))
    rows += [(name, f"{about['version'] or 'missing'}: {about['purpose']}") for name, about in told["packages"].items()]
    rows += [(name, "built" if there else "not built") for name, there in told["built"].items()]
    rows += [("passes", ", ".join(told["passes"]) or "none"), ("", "")]
    rows += [("missing", f"{one['name']}: {one['install']}") for one in told["missing"]] or [("missing", "nothing")]
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:<{width}}{text}".rstrip() for name, text in rows)


def _processors(machine: dict[str, Any]) -> str:
    quota = machine["cpus_by_quota"]
    return (f"{machine['cpus_usable']} usable: {machine['cpus_online']} online, {machine['cpus_by_affinity']} by "
            f"affinity, {'no quota' if quota is None else f'{quota:g} by quota'}")
