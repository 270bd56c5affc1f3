"""``bertpass bench gpu``: build, check and measure the CUDA engine on this machine's GPU."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bertpass import __version__, machine
from bertpass.base.files import write_json
from bertpass.base.paths import ROOT
from bertpass.errors import BertpassError, DeviceError, MissingDependencyError
from bertpass.model.config import named
from bertpass.options import flag

RESULTS = "benchmarks/results"
BOUND = {"float16": 1e-2, "bfloat16": 1e-2, "float32": 1e-4}
RESERVE = 30.0  # seconds that are left for what comes after the last measurement
LADDER_LIMIT = 60.0  # seconds for finding out what fails
TESTS_LIMIT = 180.0  # seconds for the tests
TESTS = ("tests/cuda/test_kernels.py", "tests/cuda/test_engine.py")


@dataclass
class GpuOptions:
    """Flags of bertpass bench gpu."""

    model: str = flag("bert_12_768_12", "published size whose shape is taken; weights are random", positional=True,
                      formerly=("--model",))
    dtype: str = flag("float16", "precision of all engines", choices=("float16", "bfloat16", "float32"))
    cases: list[str] = flag([], "batches, as 8x128, '32x128 half', sst, squad (default: all of the table)")
    compile_mode: str = flag("max-autotune", "mode of torch.compile; none leaves it out", choices=(
        "max-autotune", "reduce-overhead", "default", "none"))
    seconds: float = flag(0.5, "seconds per figure", least=0.01)
    minutes: float = flag(8.0, "minutes after which nothing new is begun", least=1)
    no_build: bool = flag(False, "take the library that is there; do not build it for this GPU")
    no_tests: bool = flag(False, "do not run the tests of tests/cuda on the GPU first")
    output: str | None = flag(None, f"JSON file to write (default: {RESULTS}/gpu-DEVICE-DTYPE-DATE.json)")


def graphics_card() -> dict[str, str]:
    """Name, driver and compute capability of CUDA's first GPU; DeviceError where there is none."""
    fields = ("name", "driver_version", "compute_cap", "memory.total")
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    try:
        done = subprocess.run(["nvidia-smi", *(["-i", first] if first else []),
                               f"--query-gpu={','.join(fields)}", "--format=csv,noheader"],
                              capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        done = None
    if done is None or done.returncode or not done.stdout.strip():
        raise DeviceError("there is no NVIDIA GPU with a driver here (nvidia-smi finds none); run this on a machine "
                          "with one. The engine's twins are tested without: python -m pytest tests/cuda.")
    return dict(zip(fields, (value.strip() for value in done.stdout.splitlines()[0].split(",")), strict=True))


def check(options: GpuOptions, cases: Sequence[Any], card: dict[str, str], device: str = "cuda") -> int:
    """All steps, with the table last; returns 1 where something is wrong. After each case the file has what there is.
    """
    from bertpass.bench.gpu import measure

    start = time.monotonic()
    path = output_of(options, card)
    wrong: list[str] = []
    rows: list[dict[str, Any]] = []
    result: dict[str, Any] = {
        "what": "bertpass bench gpu", "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "bertpass": __version__, "model": options.model, "dtype": options.dtype, "gpu": card,
        "machine": machine.describe(), "command": machine.command(), "rows": rows, "wrong": wrong}

    def keep() -> None:
        result["seconds"] = time.monotonic() - start
        write_json(path, result)

    try:
        _steps(options, cases, card, device, result, keep, start + 60 * options.minutes - RESERVE)
    finally:
        keep()
        for sentence in wrong:
            say(f"WRONG: {sentence}")
        print(f"wrote {path}\n\n{options.model}, {options.dtype}, {card['name']}; medians; a batch of one row with "
              f"cold weights\n{measure.table(rows)}", flush=True)
    return 1 if wrong else 0


def _steps(options: GpuOptions, cases: Sequence[Any], card: dict[str, str], device: str, result: dict[str, Any],
           keep: Callable[[], None], deadline: float) -> None:
    """What :func:`check` does, into its result; calls ``keep`` after each step."""
    from bertpass.bench.gpu import measure

    wrong, rows = result["wrong"], result["rows"]
    if not options.no_build:
        result["build_seconds"] = build(card)
    if not options.no_tests:
        result["tests"] = tests(output_of(options, card).with_suffix(".tests.txt"))
        if result["tests"]["exit_code"]:
            wrong.append("tests of tests/cuda fail on this GPU: " + result["tests"]["summary"])
    keep()
    config = named(options.model)
    checkpoint = measure.random_checkpoint(config)
    bench = measure.Bench(checkpoint, options.dtype, device)
    small = device != "cuda"
    result["versions"] = {"torch": bench.torch.__version__, **bench.ours.describe()}
    ceiling = result["ceilings"] = measure.ceilings(bench.torch, device, options.dtype, *((256, 1) if small else ()))
    say(f"ceilings: copy {ceiling['copy_tb_s']:.2f} TB/s, matrix product {ceiling['gemm_tflop_s']:.0f} TFLOP/s")
    for case in cases:
        lost = _case(options, bench, checkpoint.config, case, ceiling["gemm_tflop_s"], rows, wrong)
        keep()
        if lost:
            wrong.append(f"nothing after {case.name}: the GPU's context is lost in this process.")
            return
    for peer in ("onnxruntime", "mxnet", "compiled"):
        result[peer] = {"onnxruntime": lambda: onnxruntime(options, checkpoint, bench, cases, rows, deadline),
                        "mxnet": lambda: mxnet(options, cases, rows, deadline),
                        "compiled": lambda: compiled(options, checkpoint.config, device, cases, rows, deadline)}[peer]()
        keep()


def _case(options: GpuOptions, bench: Any, config: Any, case: Any, ceiling: float, rows: list[dict[str, Any]],
          wrong: list[str]) -> bool:
    """Adds the row of a case, of what failed too; returns whether nothing else can run in this process."""
    from bertpass.bench.gpu import apart, measure

    cold = len(case.lengths) == 1  # its weights are read from memory in real use
    try:
        errors = bench.errors(case)
        bound = max(BOUND[options.dtype], 1.5 * errors["eager"])  # of random weights 16 bits may be further away
        if not errors["ours"] <= bound:
            wrong.append(f"{case.name}: error {errors['ours']:.1e} is more than {bound:.1e}")
        times = {"ours": bench.time_ours(case, options.seconds, cold),
                 "eager": bench.time_eager(case, options.seconds, cold)}
        rows.append(measure.row(config, case, times, errors, ceiling))
        if cold:
            rows[-1]["warm_ms"] = bench.time_ours(case, options.seconds)
        say(f"{case.name}: ours {times['ours']['median']:.3f} ms, eager {times['eager']['median']:.3f} ms")
        return False
    except Exception as error:  # whatever it is, the figures of the other cases are kept
        said = f"{type(error).__name__}: {str(error)[:300]}"
        wrong.append(f"{case.name}: {said}")
        rows.append({"case": case.name, "tokens": sum(case.lengths), "padded": len(case.lengths) * case.length,
                     "failed": said, "ms": {}})
        say(wrong[-1])
        asked = apart.question("ladder", config, case, bench.device, dtype=options.dtype)
        for rung in apart.figures(apart.THIS, asked, LADDER_LIMIT):  # tells kernels, algorithms and captures apart
            rows[-1].setdefault("ladder", []).append(rung)
            say(f"{case.name}: {rung}")
        return isinstance(error, DeviceError) and error.lost


def onnxruntime(options: GpuOptions, checkpoint: Any, bench: Any, cases: Sequence[Any],
                rows: Sequence[dict[str, Any]], deadline: float) -> str:
    """Adds ONNX Runtime's times and errors to the rows; returns its version, or why there are none or not all."""
    from bertpass.bench.gpu import peers

    try:
        peer = peers.OnnxRuntime(checkpoint, options.dtype, bench.torch, bench.device)
        for case, one in zip(cases, rows, strict=True):
            if time.monotonic() > deadline:
                return f"no time from {case.name} on"
            inputs = bench.inputs(case)
            one["error_onnxruntime"] = bench.error_of(case, peer.states(*inputs))
            one["ms"]["onnxruntime"] = peer.time(bench.clock, inputs, options.seconds, len(case.lengths) == 1)
            say(f"{case.name}: onnxruntime {one['ms']['onnxruntime']['median']:.3f} ms")
    except BertpassError as error:
        say(f"onnxruntime: {error}")
        return str(error)
    except Exception as error:  # whatever a peer raises, our own figures are kept
        say(f"onnxruntime: {type(error).__name__}")
        return f"{type(error).__name__}: {str(error)[:300]}"
    return peer.version


def mxnet(options: GpuOptions, cases: Sequence[Any], rows: Sequence[dict[str, Any]], deadline: float) -> str:
    """Adds MXNet's times to the rows; returns its version and what went wrong."""
    from bertpass.bench.gpu import peers

    found = peers.mxnet_build()
    limit = min(peers.MXNET_LIMIT, deadline - time.monotonic())
    if found is None or limit < 1:
        found = "no time" if found else peers.NOT_INSTALLED
        say(f"mxnet: {found}")
        return found
    by_case = {one["case"]: one for one in rows}
    for figure in peers.mxnet_times(options.model, options.dtype, cases, options.seconds, limit):
        if "error" in figure:
            found += f"; {figure['error']}"
            say(f"mxnet: {figure['error']}")
        else:
            by_case[figure["case"]]["ms"][figure["name"]] = figure["ms"]
            say(f"{figure['case']}: {figure['name']} {figure['ms']['median']:.3f} ms")
    return found


def compiled(options: GpuOptions, config: Any, device: str, cases: Sequence[Any], rows: Sequence[dict[str, Any]],
             deadline: float) -> str:
    """Adds torch.compile's times to the rows, each in a process that the time limit ends; returns how far it went."""
    from bertpass.bench.gpu import apart

    if options.compile_mode == "none":
        return "not asked for"
    longest = 0.0
    for case, one in zip(cases, rows, strict=True):
        begun = time.monotonic()
        if begun + longest > deadline:
            return f"no time from {case.name} on"
        asked = apart.question("compiled", config, case, device, dtype=options.dtype, seconds=options.seconds,
                               mode=options.compile_mode)
        for figure in apart.figures(apart.THIS, asked, deadline - begun):
            if "error" in figure:
                return f"{case.name}: {figure['error']}"
            one["ms"]["compiled"] = figure["ms"]
        longest = max(longest, time.monotonic() - begun)
        say(f"{case.name}: compiled {one['ms']['compiled']['median']:.3f} ms, made in {time.monotonic() - begun:.0f} s")
    return options.compile_mode


def build(card: dict[str, str]) -> float:
    """Build the library for this GPU; seconds that it took. BertpassError where it fails."""
    start = time.monotonic()
    capability = card["compute_cap"].replace(".", "")
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "build_cuda.py"), "--arch",
                           "90a" if capability == "90" else capability], check=False)
    if done.returncode == MissingDependencyError.exit_code:
        raise MissingDependencyError("the library was not built, see above; --no_build takes one that is there.")
    if done.returncode:
        raise BertpassError("the library was not built, see above.")
    return time.monotonic() - start


def tests(output: Path) -> dict[str, Any]:
    """The tests of kernels and engine on the GPU, in processes of their own, which write to a file as they go."""
    workers = ["-n", "4"] if importlib.util.find_spec("xdist") else []  # a context each
    limits = ["--timeout", "60"] if importlib.util.find_spec("pytest_timeout") else []
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8") as file:
        try:
            code = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers, *limits,
                                   *TESTS], env={**os.environ, "BERTPASS_CUDA_TEST": "gpu", "PYTHONPATH": str(ROOT)},
                                  cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, check=False,
                                  timeout=TESTS_LIMIT).returncode
        except subprocess.TimeoutExpired:
            code = -1
    lines = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    summary = lines[-1].strip("= ") if lines else ""
    if code == -1:
        summary = f"were ended after {TESTS_LIMIT:.0f} seconds, see {output}"
    say(f"tests on the GPU: {summary}")
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"exit_code": code, "summary": summary, "failed": failed[:40], "end": [] if not code else lines[-60:]}


def output_of(options: GpuOptions, card: dict[str, str]) -> Path:
    """The file of the result."""
    name = re.sub(r"[^a-z0-9]+", "-", card["name"].lower()).strip("-")
    default = ROOT / RESULTS / f"gpu-{name}-{options.dtype}-{datetime.now(timezone.utc):%Y%m%d-%H%M}.json"
    return Path(options.output) if options.output else default


def say(sentence: str) -> None:
    """A line of progress, at once."""
    print(sentence, flush=True)
