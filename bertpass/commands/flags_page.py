"""docs/flags.md as text: every flag, exit code and environment variable, from the code that defines them."""

from __future__ import annotations

import dataclasses
from typing import Any

from bertpass import errors
from bertpass.commands.batch import BatchOptions
from bertpass.commands.bench import BenchOptions
from bertpass.commands.bench_cpu import CpuOptions
from bertpass.commands.bench_finetuning import FinetuningOptions
from bertpass.commands.bench_kernels import KernelOptions
from bertpass.commands.bench_report import ReportOptions
from bertpass.commands.bench_routing import RoutingOptions
from bertpass.commands.bench_scaling import ScalingOptions
from bertpass.commands.bench_serving import ServingOptions
from bertpass.commands.bench_sweep import SweepOptions
from bertpass.commands.compare import CompareOptions
from bertpass.commands.demo import DemoOptions
from bertpass.commands.demo_serve import DemoServeOptions
from bertpass.commands.env import EnvOptions
from bertpass.commands.export import ExportOptions
from bertpass.commands.gpu_check import GpuCheckOptions
from bertpass.commands.launch import LaunchOptions
from bertpass.commands.load import LoadOptions
from bertpass.commands.main import PackOptions
from bertpass.commands.new_model import NewModelOptions
from bertpass.commands.plan import PlanOptions
from bertpass.commands.reproduce import ReproduceOptions
from bertpass.commands.tune import TuneOptions
from bertpass.jobs.classify import ClassifierOptions
from bertpass.jobs.deploy_options import DeployOptions
from bertpass.jobs.low_precision_options import TableOptions
from bertpass.jobs.squad import SquadOptions
from bertpass.options import spelled
from bertpass.serving.options import PREFIX, ServeOptions

COMMANDS = (("deploy.py", DeployOptions), ("finetune/finetune_classifier.py", ClassifierOptions),
            ("finetune/finetune_squad.py", SquadOptions), ("scripts/demo.py", DemoOptions),
            ("scripts/bench_passes.py", BenchOptions), ("python -m bertpass.bench cpu", CpuOptions),
            ("python -m bertpass.bench finetuning", FinetuningOptions),
            ("python -m bertpass.bench precision", TableOptions),
            ("python -m bertpass.bench scaling", ScalingOptions), ("python -m bertpass.bench routing", RoutingOptions),
            ("python -m bertpass.bench serving", ServingOptions), ("bertpass load", LoadOptions),
            ("python -m bertpass.bench report", ReportOptions), ("bertpass compare", CompareOptions),
            ("bertpass bench NAME=VALUE ... (Hydra)", SweepOptions),
            ("scripts/launch.py", LaunchOptions), ("bertpass plan", PlanOptions),
            ("benchmarks/kernels.py", KernelOptions), ("scripts/reproduce.py", ReproduceOptions),
            ("scripts/gpu_check.py", GpuCheckOptions), ("bertpass pack", PackOptions),
            ("bertpass export", ExportOptions), ("bertpass tune", TuneOptions),
            ("bertpass serve", ServeOptions), ("bertpass batch", BatchOptions),
            ("bertpass demo-serve", DemoServeOptions), ("bertpass new-model", NewModelOptions),
            ("bertpass env", EnvOptions))

VARIABLES = (
    ("OMP_NUM_THREADS", "threads of the CPU engines; where it is not set, bertpass takes the CPU affinity cut by the "
     "cgroup quota (MXNet by itself takes half of the processors)"),
    ("MXNET_SAFE_ACCUMULATION", "set to 1 by --dtype float16 unless you set it"),
    ("MXNET_FC_TRUE_FP16", "set to 1 by --true_fp16 unless you set it"),
    ("MXNET_HOME", "GluonNLP's cache of weights and vocabularies (default ~/.mxnet)"),
    ("BERTPASS_ISA", "instruction set of the native engine: portable, avx2, avx512, avx512_bf16, amx; by default "
     "the fastest that the processor has (`bertpass env` shows it)"),
    ("BERTPASS_CUDA", "library of the CUDA engine (default: the package's own libbertpass_cuda.so)"),
    ("BERTPASS_CUBLASLT", "libcublasLt.so for the CUDA engine (default: an installed package's, else the loader's)"),
    ("BERTPASS_CUDA_MEASUREMENTS", "file of the CUDA engine's measured algorithms (default "
     "~/.cache/bertpass/cuda-algorithms.json; the operators for TensorFlow and TensorRT measure only where it is set)"),
    ("BERTPASS_TENSORFLOW_PYTHON", "Python of the environment in which the benchmarks run TensorFlow (default: "
     "that of `make tensorflow`, .venv-tensorflow)"),
    ("BERTPASS_TVM_RECORDS", "where `bertpass tune` keeps schedules and the TVM engine looks for them (default "
     "~/.cache/bertpass/tvm-records.json)"),
    ("TENSORRT_INCLUDE", "folder of TensorRT's headers, for scripts/build_tensorrt.py"),
    ("BERTPASS_CACHE", "where downloads are kept (default ~/.cache/bertpass)"),
    ("BERTPASS_DATA", "folder with real data in GLUE and SQuAD layout, for the tests that need it"),
    (f"{PREFIX}*", "every flag of `bertpass serve`: the prefix and the flag's name in capitals; they win over "
     "the file of --config, and the command line over them"),
    ("BERTPASS_MXNET", "at installation: which MXNet to depend on: cpu (default), cu102, cu112, cu117, none"),
    ("BERTPASS_TRACEBACK", "1 shows the traceback of our own errors as well"),
    ("NVCC, CUDA_HOME", "the CUDA compiler that scripts/build_cuda.py takes"),
    ("CXX, CXXFLAGS, LDFLAGS", "at installation: the C++ compiler and further flags"),
)

INTRODUCTION = """# Flags, exit codes, environment variables

Made by `scripts/write_flags.py`; do not edit. `--gpu` alone means device 0 and `--gpu N` device N, in every command.
Published flags keep their meaning; where a published flag did the opposite of its name (`--uncased` turned lower-casing
off), it now does what it says.
"""


def _types() -> list[type[errors.BertpassError]]:
    found = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.BertpassError)]
    return sorted(found, key=lambda t: t.exit_code)


def _row(cells: Any) -> str:
    return "| " + " | ".join(str(c).replace("|", "\\|") for c in cells) + " |"


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION]
    for name, options in COMMANDS:
        lines += [f"## {name}", "", _row(("flag", "default", "meaning")), "|---|---|---|"]
        for field in dataclasses.fields(options):
            names, default, help_text = spelled(field)
            if options is SweepOptions:
                names = [field.name + "="]
            lines.append(_row((" ".join(f"`{n}`" for n in names), default, help_text)))
        lines.append("")
    lines += ["## Exit codes", "", _row(("code", "error", "meaning")), "|---|---|---|", _row((0, "", "done"))]
    for kind in _types():
        lines.append(_row((kind.exit_code, kind.__name__, (kind.__doc__ or "").split("\n")[0])))
    lines += [_row((130, "", "stopped by Ctrl-C; the last checkpoint is kept")), "", "## Environment variables", "",
              _row(("variable", "meaning")), "|---|---|"]
    lines += [_row((f"`{name}`", meaning)) for name, meaning in VARIABLES]
    return "\n".join(lines) + "\n"
