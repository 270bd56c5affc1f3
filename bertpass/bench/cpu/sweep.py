"""``bertpass bench sweep engine=... batch_size=1,8 sequence_length=128 --multirun``: bench cpu in Hydra's words.

Hydra reads the words, expands the sweep and checks the types. Its launcher is not used: it would run one combination
after the other, whereas here all engines of a combination of the rest run interleaved, as in ``bench cpu``. Every such
part is written as soon as it is measured; the same command goes on after a stop.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bertpass import machine
from bertpass.errors import DataError, UsageError, unknown
from bertpass.extras import require
from bertpass.options import check, flag

MULTIRUN = ("--multirun", "-m")
ALIASES = {"backend": "engine", "backend.name": "engine", "backend.num_threads": "num_threads"}
BACKENDS = {"pytorch": "torch-float32", "ort": "onnxruntime-float32"}  # the published benchmark's names
ONE_VALUE = ("warmup_runs", "benchmark_duration", "output", "strict")
MOST_ROUNDS = 1000  # the duration decides


@dataclass
class SweepOptions:
    """Words of bertpass bench sweep; ``HYDRA``: they are written NAME=VALUE."""

    HYDRA = True

    model: str = flag("minilm", "a published size (random weights: speed does not depend on them), minilm or a path")
    engine: str = flag("native-float32", "engine (native, openvino, ...) or engine and precision (openvino-int8, ...); "
                       "also backend=, backend.name=")
    batch_size: int = flag(1, "rows per batch, all full", least=1, most=9999)
    sequence_length: int = flag(128, "tokens per row", least=1, most=9999)
    num_threads: int | None = flag(None, "threads of every engine (default: OMP_NUM_THREADS, otherwise all "
                                   "processors); also backend.num_threads=", least=1, most=1024)
    warmup_runs: int = flag(2, "calls of each engine that are not counted", least=1)
    benchmark_duration: float = flag(10.0, "seconds per engine and batch; at least 3 interleaved rounds", least=0.1)
    output: str = flag("bench_output", "folder for sweep.json; what an interrupted sweep has left there is kept")
    strict: bool = flag(False, "refuse to measure while other processes keep the machine busy")


Part = tuple[SweepOptions, tuple[str, ...]]  # one combination, engine aside, and its engines


def configurations(words: Sequence[str]) -> list[SweepOptions]:
    """Every combination that the words name, in Hydra's order.

    Raises
    ------
    UsageError
        A word is no override in Hydra's grammar, a name or value is unknown, or a sweep lacks --multirun.
    MissingDependencyError
        hydra-core is not installed.
    """
    hydra = require("hydra", "hydra")
    from hydra.core.config_store import ConfigStore
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    names = list(SweepOptions.__dataclass_fields__)
    several = any(word in MULTIRUN for word in words)
    lists: list[list[str]] = []
    try:
        for override in OverridesParser.create().parse_overrides([w for w in words if w not in MULTIRUN]):
            key = ALIASES.get(override.key_or_group, override.key_or_group)
            if key not in names:
                raise UsageError(unknown("option", override.key_or_group, [*names, *ALIASES]))
            if override.is_delete() or override.is_add() or override.is_force_add():
                raise UsageError(f"{override.input_line}: write {key}=VALUE; nothing can be added or removed.")
            if override.is_sweep_override():
                if not several:
                    raise UsageError(f"{override.input_line}: several values need --multirun.")
                if key in ONE_VALUE:
                    raise UsageError(f"{override.input_line}: one value of {key} holds for a whole sweep.")
                lists.append([f"{key}={value}" for value in override.sweep_string_iterator()])
            else:
                lists.append([f"{key}={override.get_value_element_as_str()}"])
        ConfigStore.instance().store(name="bertpass_bench", node=SweepOptions)
        with hydra.initialize(version_base="1.3"):
            found = [SweepOptions(**hydra.compose("bertpass_bench", overrides=list(chosen)))
                     for chosen in itertools.product(*lists)]
    except (HydraException, OmegaConfBaseException) as error:
        reason = error.__cause__ or error
        raise UsageError(f"{' '.join(words)}: {' '.join(str(reason).split())}.") from error
    for one in found:
        one.engine = BACKENDS.get(one.engine, one.engine)
        one.num_threads = one.num_threads or machine.threads()
        check(one)
    return found


def parts(found: Sequence[SweepOptions]) -> list[Part]:
    """The combinations with their engines together, which will be interleaved."""
    engines: dict[str, tuple[SweepOptions, list[str]]] = {}
    for one in found:
        rest = {name: value for name, value in asdict(one).items() if name != "engine"}
        names = engines.setdefault(json.dumps(rest), (one, []))[1]
        if one.engine not in names:
            names.append(one.engine)
    return [(one, tuple(names)) for one, names in engines.values()]


def described(wanted: Sequence[Part]) -> list[dict[str, Any]]:
    """The sweep for its file, by which it is known again."""
    return [{**asdict(one), "engine": list(names)} for one, names in wanted]


def kept(file: Path, sweep: Sequence[dict[str, Any]], about: dict[str, Any]) -> list[dict[str, Any]]:
    """What an interrupted run of the same sweep left: one entry for each part that was measured.

    Raises
    ------
    UsageError
        The file is of another sweep, machine, version or revision.
    DataError
        It cannot be read.
    """
    if not file.exists():
        return []
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        entries, other = content["models"], content["sweep"]
        before = {key: content["environment"][key] for key in ("machine", "versions", "revision")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: it is no file of a sweep ({type(error).__name__}: {error}); move it away or name "
                        "another folder with output=.") from error
    if other != list(sweep):
        raise UsageError(f"{file} holds another sweep; move it away or name another folder with output=.")
    changed = [key for key, value in before.items() if value != about[key]]
    if changed:
        raise UsageError(f"{file} was measured with another {' and '.join(changed)}; move it away or name another "
                         "folder with output=.")
    return list(entries)


def run(wanted: Sequence[Part], done: list[dict[str, Any]], measure: Callable[[Part], dict[str, Any]],
        keep: Callable[[list[dict[str, Any]]], None]) -> list[dict[str, Any]]:
    """Measure the parts after those that are done; ``keep`` gets all entries after each of them."""
    for part in wanted[len(done):]:
        done = [*done, measure(part)]
        keep(done)
    return done
