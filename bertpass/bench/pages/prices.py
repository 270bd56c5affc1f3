"""Price lists of machines: YAML files such as prices.yaml beside this module, which is the default."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpass.errors import DataError, UsageError, unknown
from bertpass.extras import require

DEFAULT = Path(__file__).with_name("prices.yaml")
_FIELDS = ("name", "dollars_per_hour", "vcpus", "threads_per_core", "accelerator")


@dataclass(frozen=True)
class Price:
    """One machine: dollars an hour, hardware threads, of which ``threads_per_core`` share a core."""

    name: str
    dollars_per_hour: float
    vcpus: int
    threads_per_core: int = 2
    accelerator: str = ""

    @property
    def cores(self) -> int:
        return max(1, self.vcpus // self.threads_per_core)

    def per_million(self, per_second: float) -> float:
        """Dollars for a million requests at a rate that the machine keeps up."""
        return self.dollars_per_hour / 3600 / per_second * 1e6


@dataclass(frozen=True)
class PriceList:
    """Machines by name; ``source`` and ``date`` say where the prices are from."""

    machines: dict[str, Price]
    source: str
    date: str

    def of(self, name: str) -> Price:
        if name not in self.machines:
            raise UsageError(f"--machine: {unknown('machine', name, self.machines)}")
        return self.machines[name]


def read(file: Path = DEFAULT) -> PriceList:
    """The list in a YAML file.

    Raises
    ------
    DataError
        The file is missing or is not such a list; the text names the entry.
    """
    yaml = require("yaml", "plan")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{file}: no price list can be read from it ({' '.join(str(error).split())}).") from error
    entries = content.get("machines") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{file}: it has no list 'machines'; each entry has a name, dollars_per_hour and vcpus.")
    machines: dict[str, Price] = {}
    for number, entry in enumerate(entries, 1):
        price = _price(entry, f"{file}, machine {number}")
        if price.name in machines:
            raise DataError(f"{file}: {price.name} is there twice.")
        machines[price.name] = price
    return PriceList(machines, " ".join(str(content.get("source", file)).split()), str(content.get("date", "undated")))


def _price(entry: Any, where: str) -> Price:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise DataError(f"{where}: give it a name, dollars_per_hour and vcpus.")
    where += f" ({entry['name']})"
    for key in entry:
        if key not in _FIELDS:
            raise DataError(f"{where}: {unknown('field', str(key), _FIELDS)}")
    dollars = entry.get("dollars_per_hour")
    if isinstance(dollars, bool) or not isinstance(dollars, int | float) or not 0 < dollars < math.inf:
        raise DataError(f"{where}: dollars_per_hour has to be a positive number.")
    counts = {"vcpus": entry.get("vcpus"), "threads_per_core": entry.get("threads_per_core", 2)}
    for key, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise DataError(f"{where}: {key} has to be a positive whole number.")
    return Price(entry["name"], float(dollars), accelerator=str(entry.get("accelerator", "")), **counts)
