"""``bertpass bench model=... engine=... batch_size=1,8 sequence_length=128 --multirun``: bench cpu in Hydra's words.

Hydra reads the words, expands the sweep and checks the types. Its launcher is not used: it would run one combination
after the other, whereas here all engines of a combination of the rest run interleaved, as in ``bench cpu``. Every such
part is written as soon as it is measured; the same command goes on after a stop.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bertpass import machine
from bertpass.commands.run import guarded
from bertpass.errors import BertpassError, DataError, UsageError, unknown
from bertpass.extras import require
from bertpass.options import check, check_output_folder, flag
from bertpass.progress import start_logging

MULTIRUN = ("--multirun", "-m")
ALIASES = {"backend": "engine", "backend.name": "engine", "backend.num_threads": "num_threads"}
BACKENDS = {"pytorch": "torch-float32", "ort": "onnxruntime-float32"}  # the published benchmark's names
ONE_VALUE = ("warmup_runs", "benchmark_duration", "output", "strict")
MOST_ROUNDS = 1000  # the duration decides


@dataclass
class SweepOptions:
    """Words of bertpass bench in Hydra's way."""

    model: str = flag("minilm", "a published size (random weights: speed does not depend on them), minilm or a path")
    engine: str = flag("native-float32", "engine (native, openvino, ...) or variant of it (openvino-int8, ...); also "
                       "backend=, backend.name=")
    batch_size: int = flag(1, "rows, all full", least=1, most=9999)
    sequence_length: int = flag(128, "tokens of a row", least=1, most=9999)
    num_threads: int | None = flag(None, "threads of every engine (default: OMP_NUM_THREADS, else all processors); "
                                   "also backend.num_threads=", least=1, most=1024)
    warmup_runs: int = flag(2, "calls of each engine before anything is counted", least=1)
    benchmark_duration: float = flag(10.0, "seconds for each engine on each batch; 3 interleaved rounds at least",
                                     least=0.1)
    output: str = flag("bench_output", "folder for sweep.json; what an interrupted sweep left there is kept")
    strict: bool = flag(False, "refuse to measure while other processes keep the machine busy")


Part = tuple[SweepOptions, tuple[str, ...]]  # one combination, engine aside, and its engines


def is_meant(words: Sequence[str]) -> bool:
    """Whether a command line is in Hydra's words."""
    return bool(words) and (words[0] in MULTIRUN or re.match(r"[~+]|[A-Za-z_][\w.]*=", words[0]) is not None)


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


def main(words: Sequence[str]) -> int:
    """Run the sweep; returns the exit code, 1 where no engine could be measured."""
    def job() -> None:
        wanted = parts(configurations(words))
        folder = Path(wanted[0][0].output)
        check_output_folder("output", folder)
        from bertpass.bench import ceiling, quiet, variants, workloads
        from bertpass.bench.cpu import report
        from bertpass.bench.cpu import run as cpu

        for _, names in wanted:
            cpu.reference_of(variants.chosen(names))
        if wanted[0][0].strict:
            quiet.demand()
        most = max(one.num_threads or 1 for one, _ in wanted)
        peaks = {n: ceiling.peaks(n) for n in dict.fromkeys([most, *(one.num_threads or 1 for one, _ in wanted)])}
        about, sweep = report.environment(most, quiet.pick(most), peaks[most]), described(wanted)
        file = folder / "sweep.json"
        done = kept(file, sweep, about)
        if done:
            print(f"{file}: {len(done)} of {len(wanted)} parts are there already.")
        start_logging()

        def measure(part: Part) -> dict[str, Any]:
            one, names = part
            chosen, threads = variants.chosen(names), one.num_threads or 1
            plan = cpu.Plan(chosen, workloads.of_family(f"{one.batch_size}x{one.sequence_length}"), MOST_ROUNDS,
                            one.benchmark_duration * len(chosen), threads, quiet.pick(threads), one.warmup_runs)
            results = cpu.compare(plan, one.model)
            report.show(results, peaks[threads], threads)
            return {**results.to_dict(peaks[threads]), "threads": threads}

        def keep(entries: list[dict[str, Any]]) -> None:
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"environment": about, "sweep": sweep, "models": entries}, indent=1) + "\n"
            new = file.with_suffix(".tmp")
            new.write_text(text, encoding="utf-8")
            new.replace(file)

        entries = run(wanted, done, measure, keep)
        print(f"wrote {file}")
        if not any(engine["timings"] for entry in entries for engine in entry["engines"]):
            raise BertpassError("no engine could be measured; the reasons stand below the tables.")
    return guarded(job)
