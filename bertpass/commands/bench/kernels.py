"""``bertpass bench kernels``: the CPU engine's kernels against references and ceilings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bertpass import machine
from bertpass.base.files import write_json
from bertpass.commands.run import guarded
from bertpass.errors import BertpassError, UsageError, unknown
from bertpass.options import check_output_folder, flag, parse
from bertpass.progress import start_logging, track

WIDTH = 120
#: what is read, from which level of memory on a machine of today
SIZES = {"16 KiB (L1)": 2**14, "512 KiB (L2)": 2**19, "8 MiB (L3)": 2**23, "256 MiB (memory)": 2**28}
SHARED = 2**22  # bytes from which a level is one for all threads


@dataclass
class KernelOptions:
    """Flags of bertpass bench kernels."""

    models: list[str] = flag(["minilm", "bert_12_768_12"], "published sizes whose shapes are taken", positional=True,
                             metavar="MODEL", formerly=("--models",))
    dtypes: list[str] = flag([], "precisions of the linear layers and attention (default: float32 bfloat16 int8)")
    isa: list[str] = flag([], "instruction sets (default: the fastest one here; all is every one that is here)")
    only: str | None = flag(None, "measure only kernels with this word in their names, such as attention")
    threads: int | None = flag(None, "threads of each kernel (default: OMP_NUM_THREADS, otherwise all processors)",
                               least=1, most=1024)
    output: str | None = flag(None, "write the figures to this JSON file")
    keep: str | None = flag(None, "write to this file, in place of the tables, how many times as fast as the portable "
                            "one each kernel is; --against reads it")
    against: str | None = flag(None, "compare the kernels with a file of --keep from this kind of host, in place of "
                               "the tables; exit code 1 where one has lost more than 1.3x against the portable one")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; returns the exit code, 1 where a kernel is wrong."""
    def job() -> None:
        options = parse(KernelOptions, argv, "Measure the kernels of the CPU engine.")
        for name in ("output", "keep"):
            if getattr(options, name):
                check_output_folder(name, Path(getattr(options, name)).parent)
        from bertpass import _native
        from bertpass.bench import ceiling
        from bertpass.bench.cpu import kernels

        here = _native.instruction_sets()
        sets = here if options.isa == ["all"] else options.isa or [_native.selected()]
        for name, values, known in (("dtypes", options.dtypes, ceiling.PRECISIONS), ("isa", sets, here)):
            for value in values:
                if value not in known:
                    raise UsageError(f"--{name}: {unknown('value', value, known)}")
        if options.keep or options.against:
            return _ratios(options, sets)
        threads = options.threads or machine.threads()
        wanted = [case for case in kernels.cases(options.models, options.dtypes or ceiling.PRECISIONS)
                  if options.only is None or options.only in case.kernel]
        if not wanted:
            raise UsageError(f"--only {options.only}: no kernel has it in its name; try linear, attention, layer norm "
                             "or softmax.")
        start_logging()
        console = Console(width=None if Console().is_terminal else WIDTH)
        peaks = {isa: ceiling.peaks(threads, isa) for isa in here}
        # the first two levels belong to one core, so each thread reads as much
        sizes = {name: size * threads if size < SHARED else size for name, size in SIZES.items()}
        reads = {isa: ceiling.reads(threads, isa, sizes) for isa in here}
        console.print(_ceilings(peaks, reads, threads))
        work = [(case, isa) for isa in sets for case in wanted]
        found = [kernels.measure(case, isa, threads) for case, isa in track(work, "kernels", len(work))]
        console.print(_kernels(found, peaks, reads, threads))
        if options.output:
            rows = [{"kernel": f.case.kernel, "shape": f.case.shape, "dtype": f.case.dtype, "isa": f.isa,
                     "error": f.error, "right": f.right, "microseconds": round(f.seconds * 1e6, 3),
                     "gflops": round(f.case.operations / f.seconds / 1e9, 2),
                     "gigabytes_a_second": round(f.case.bytes / f.seconds / 1e9, 2)} for f in found]
            content = {"command": machine.command(), "machine": machine.describe(), "threads": threads, "peaks": peaks,
                       "reads": reads, "kernels": rows}
            write_json(options.output, content)
        wrong = [f"{f.case.kernel} {f.case.shape} {f.case.dtype} in {f.isa}" for f in found if not f.right]
        if wrong:
            raise BertpassError(f"{len(wrong)} kernels differ from their reference by more than their bound, first "
                                f"{wrong[0]}; run the tests in tests/native.")
    return guarded(job)


def _ratios(options: KernelOptions, sets: Sequence[str]) -> None:
    """Keep the kernels' ratios to the portable ones, or compare them with those of a file."""
    from bertpass.bench.cpu import kernel_ratios

    if options.keep and options.against:
        raise UsageError("--keep and --against: give one of them; the first writes the file that the second reads.")
    if options.keep:
        start_logging()
        threads = options.threads or 1
        count = len(kernel_ratios.cases(sets)) * kernel_ratios.ROUNDS
        ratios = kernel_ratios.measure(sets, threads, lambda work: track(list(work), "kernels", count))
        kernel_ratios.keep(Path(options.keep), ratios, threads)
        print(f"wrote {len(ratios)} ratios to {options.keep}")
        return
    content = kernel_ratios.read(Path(options.against or ""))
    start_logging()
    changes = kernel_ratios.against(content, lambda names: track(list(names), "kernels", len(content["ratios"])))
    table = Table(title=f"times as fast as the portable kernel, {content['threads']} threads: as kept and now; a loss "
                  f"above {kernel_ratios.TOLERANCE} counts")
    table.add_column("kernel")
    for name in ("kept", "now", "loss"):
        table.add_column(name, justify="right")
    for one in changes:
        slower = " SLOWER" if one.loss > kernel_ratios.TOLERANCE else ""
        table.add_row(one.name, f"{one.kept:.1f}", f"{one.now:.1f}", f"{one.loss:.2f}{slower}")
    Console(width=None if Console().is_terminal else WIDTH).print(table)
    lost = [one for one in changes if one.loss > kernel_ratios.TOLERANCE]
    if lost:
        raise BertpassError(f"{len(lost)} of {len(changes)} kernels became slower than the portable ones say they may, "
                            f"first {lost[0].name} ({lost[0].loss:.2f}x); look at what the last change did to it.")


def _ceilings(peaks: dict[str, dict[str, float]], reads: dict[str, dict[str, float]], threads: int) -> Table:
    table = Table(title=f"ceilings, {threads} threads: GFLOP/s (int8: GOP/s) in registers, GB/s read")
    table.add_column("instruction set")
    for name in [*next(iter(peaks.values())), *next(iter(reads.values()))]:
        table.add_column(name, justify="right")
    for isa in peaks:
        table.add_row(isa, *(f"{value / 1e9:.0f}" for value in [*peaks[isa].values(), *reads[isa].values()]))
    return table


def _kernels(found: Sequence, peaks: dict[str, dict[str, float]], reads: dict[str, dict[str, float]],
             threads: int) -> Table:
    table = Table(title=f"kernels, {threads} threads: difference from the reference, time of a call, rate, share of "
                  "the ceiling (of L2 reads where memory bounds it)")
    for name in ("kernel", "shape", "type", "set"):
        table.add_column(name)
    for name in ("error", "microseconds", "rate", "share"):
        table.add_column(name, justify="right")
    for one in found:
        amount = one.case.operations or one.case.bytes
        unit = "GB/s" if not one.case.operations else "GOP/s" if one.case.dtype == "int8" else "GFLOP/s"
        rate = amount / one.seconds
        ceiling = peaks[one.isa][one.case.dtype] if one.case.operations else list(reads[one.isa].values())[1]
        table.add_row(one.case.kernel, one.case.shape, one.case.dtype, one.isa,
                      f"{one.error:.1e}" + ("" if one.right else " WRONG"), f"{one.seconds * 1e6:.1f}",
                      f"{rate / 1e9:.0f} {unit}", f"{rate / ceiling:.0%}")
    return table
