"""Schedules of the TVM engine's kernels that were found best on a kind of machine: files of records.

A record is of one processor, vector width, number of threads and kernel with its arguments, so that all networks with
a product of the same size share it. Those of :data:`SHIPPED` come with the package; what
:mod:`bertpass.jobs.machines.tvm_tuning` finds goes to :func:`own_file` and is preferred.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.base.paths import cache_folder
from bertpass.base.variables import value
from bertpass.errors import ModelError
from bertpass.model.files.folders import read_object

FORMAT = 1
SHIPPED = Path(__file__).with_name("records.json")


@dataclass(frozen=True)
class Record:
    """The best schedule of one kernel, with the microseconds of a call and those of the schedule by default."""

    cpu: str
    lanes: int
    threads: int
    kernel: str
    arguments: str  # as :func:`written`
    schedule: dict[str, int]
    microseconds: float
    default_microseconds: float
    tvm: str

    @property
    def key(self) -> tuple[str, int, int, str, str]:
        """What it is looked up by."""
        return self.cpu, self.lanes, self.threads, self.kernel, self.arguments


class Records:
    """The records of this processor for a vector width and a number of threads."""

    def __init__(self, records: Iterable[Record], lanes: int, threads: int) -> None:
        self.cpu, self.lanes, self.threads = machine.describe()["cpu"], lanes, threads
        self._schedules = {record.key: record.schedule for record in records}

    def schedule(self, kernel: str, arguments: Sequence[Any]) -> Mapping[str, int] | None:
        """Keywords of the kernel in :class:`~bertpass.engines.tvm.kernels.Kernels`; None without a record of it."""
        return self._schedules.get((self.cpu, self.lanes, self.threads, kernel, written(arguments)))


def written(arguments: Sequence[Any]) -> str:
    """A kernel's arguments as JSON."""
    return json.dumps(arguments)


def own_file() -> Path:
    """Where records are kept: $BERTPASS_TVM_RECORDS, else tvm-records.json in the cache folder."""
    return Path(value("BERTPASS_TVM_RECORDS") or cache_folder() / "tvm-records.json")


def here(lanes: int, threads: int) -> Records:
    """The shipped records and this machine's own; ModelError where a file of them is damaged."""
    return Records([*read(SHIPPED), *read(own_file())], lanes, threads)


def read(path: Path) -> list[Record]:
    """The records of a file, none where there is no such file; ModelError where it is none of ours or damaged."""
    if not path.exists():
        return []
    content = read_object(path, "records of TVM kernels")
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}")
        return [Record(**{**one, "schedule": {str(k): int(v) for k, v in one["schedule"].items()}})
                for one in content["records"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} holds no records of TVM kernels that this version reads ({error}); delete it and "
                         "run bertpass tune again.") from error


def merge(path: Path, new: Iterable[Record]) -> None:
    """Put records into a file, in place of those of the same kernels; ModelError where it cannot be read or written."""
    kept = {record.key: record for record in [*read(path), *new]}
    content = {"format": FORMAT, "records": [asdict(kept[key]) for key in sorted(kept)]}
    try:
        write_json(path, content)
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror or error}; name another file in "
                         "BERTPASS_TVM_RECORDS.") from error
