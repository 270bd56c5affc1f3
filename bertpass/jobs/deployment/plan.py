"""The plan of a deployment: everything is checked and chosen here, from the flags and the files that they name."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertpass import _native
from bertpass.engines.cuda import library as cuda_library
from bertpass.errors import DeviceError, UsageError
from bertpass.jobs.deployment import workload as work
from bertpass.jobs.deployment.model import Found, Weights, check_own_folder, find, find_exported, pair_prefix
from bertpass.jobs.deployment.options import DeployOptions
from bertpass.jobs.low_precision.options import Lowering
from bertpass.jobs.tasks.exported import find_pair
from bertpass.jobs.tasks.predict import AnswerOptions
from bertpass.model.low_precision.plan import base_of, products
from bertpass.passes import PassInfo, select
from bertpass.passes.select import taking
from bertpass.progress import log
from bertpass.text.data.tasks import Task, get_task


@dataclass(frozen=True)
class Request:
    """What is asked of the model instead of a data set: one question about one context, or texts."""

    texts: tuple[str, ...]
    text_pair: str | None = None
    question: str | None = None


@dataclass(frozen=True)
class Plan:
    """What is written and run. Bad input was refused before there is one.

    ``prefix`` is that of the deployed pair; ``dtype`` the precision of the bundle and ``encoder`` that of the pair's
    encoder, a precision plan; ``library`` runs the passes inside MXNet. A plan has ``task`` and ``source``, the rows
    that are run, or a ``request``. ``compare`` runs the model without passes too, ``predictions`` writes what it says
    of the rows, ``only_calibration`` ends with the pair.
    """

    found: Found
    prefix: Path
    passes: tuple[PassInfo, ...]
    library: str | None
    gpu: int | None
    dtype: str
    encoder: str
    lowering: Lowering
    rows: work.RowSettings
    task: Task | None
    source: work.Source | None
    request: Request | None
    compare: bool
    predictions: bool
    only_calibration: bool


def plan(options: DeployOptions) -> Plan:
    """Check the flags, the data, the device and the model, in the order of how long each takes.

    Raises
    ------
    BertpassError
        Of the kind that fits the fault.
    """
    options.check()
    set_environment(options)
    rows, task, source = row_settings(options), get_task(options.task) if options.task else None, None
    if task is not None and not options.single and not options.eval_file:
        source = work.read(rows, task, None)
    passes = tuple(select(",".join(options.passes), "cpu" if options.gpu is None else "gpu"))
    if options.gpu is not None and any(info.needs_cuda_engine for info in passes):
        cuda_library.library()  # refuses where it is not built
    from bertpass.engines.frameworks.mxnet_engine import check_device  # starts MXNet: only after what needs none
    from bertpass.passes.library import Library

    encoder = encoder_dtype(options, passes) if options.gpu is None else "float32"
    check_device(options.gpu, base_of(encoder) if options.gpu is None else options.dtype)
    if options.custom_pass is not None:
        Library(options.custom_pass)
    found, prefix = find_model(options, task, source)
    check_fit(options, found)
    products(encoder, found.config.num_layers)  # refuses a plan for layers that there are not
    request = None
    if options.single:
        request = Request(tuple(read_single(options)), options.text_pair, options.question)
    else:
        task = task or work.own_task(found.name, found.head.kind, found.labels, options.label_separator,
                                     options.threshold)
        if task.open:
            task = dataclasses.replace(task, labels=tuple(found.labels))
        source = dataclasses.replace(source or work.read(rows, task, found.labels), task=task)
        work.refuse_other_pairs(source, found.model.pairs)
    return Plan(found, prefix, passes, options.custom_pass, options.gpu,
                "float32" if options.gpu is None else options.dtype, encoder, options.lowering, rows, task, source,
                request, options.compare, options.check_accuracy, options.only_calibration)


def set_environment(options: DeployOptions) -> None:
    """Set what MXNet reads at its start. Has to come before MXNet is imported."""
    wanted = {}
    if options.dtype == "float16" and options.gpu is not None:
        wanted["MXNET_SAFE_ACCUMULATION"] = "1"
    if options.true_fp16:
        wanted["MXNET_FC_TRUE_FP16"] = "1"
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
        log.info("%s=%s", name, os.environ[name])


def row_settings(options: DeployOptions) -> work.RowSettings:
    """What the flags say of rows."""
    answers = AnswerOptions(options.seq_length, options.QA_doc_stride, options.QA_max_query_length,
                            options.QA_n_best_size, options.QA_max_answer_length, options.QA_version_2,
                            options.QA_null_score_diff_threshold)
    return work.RowSettings(answers, options.test_batch_size, options.eval_file, options.data_dir, options.split,
                            options.word_column, options.tag_column, options.max_iters, options.columns)


def find_model(options: DeployOptions, task: Task | None, source: work.Source | None) -> tuple[Found, Path]:
    """The model, and the prefix of the pair that is written, or with ``--only_infer`` read."""
    weights = Weights(options.model_parameters, options.bert_model, options.dataset_name, options.vocab,
                      options.num_heads, options.allow_pickle, options.dropout)
    if options.only_infer:
        prefix = find_pair(Path(options.exported_model or Path(options.output_dir, options.task or "")))
        return find_exported(weights, task, prefix), prefix
    found = find(weights, task, () if source is None else source.examples)
    prefix = Path(options.exported_model) if options.exported_model else \
        pair_prefix(options.output_dir, found.name or found.head.kind)
    check_own_folder(prefix)
    return found, prefix


def encoder_dtype(options: DeployOptions, passes: Sequence[PassInfo]) -> str:
    """What the encoder that a pass puts in is to compute in for ``--dtype`` on a CPU.

    float16 becomes bfloat16 where the processor multiplies in it, else float32, and a line of the log says so.

    Raises
    ------
    DeviceError
        Lower precision is asked for and nothing here computes in it: the pass, or for float16 the library, is missing.
    """
    dtype = options.lowest
    if dtype == "float32" or options.only_infer:
        return "float32"
    if options.int8_engine == "mxnet":
        return dtype
    if dtype == "float16" and options.custom_pass is None:
        raise DeviceError("float16: MXNet computes float16 on a GPU only; give --gpu ID, or --custom_pass "
                          "bertpass_lib.so, whose encoder computes it in bfloat16 or float32, or --dtype float32 on "
                          "this CPU.")
    if not any("dtype" in info.options for info in passes):
        raise DeviceError(f"--dtype {dtype}: on a CPU only the pass {', '.join(taking('dtype'))} computes in it; "
                          "add it to --passes, or give --gpu ID or --dtype float32.")
    if dtype != "float16":
        return options.plan
    instructions = _native.selected()
    computed = "bfloat16" if "bf16" in instructions or "amx" in instructions else "float32"
    log.info("--dtype float16: the encoder is computed in %s, the fastest that this CPU has for it (%s).", computed,
             instructions)
    return computed


def check_fit(options: DeployOptions, found: Found) -> None:
    """Refuse what the model cannot do, before it is exported."""
    found.tokenizer()
    kind = found.head.kind
    if options.seq_length > found.config.max_length:
        raise UsageError(f"--seq_length {options.seq_length}: the model has {found.config.max_length} positions.")
    if options.question is not None and kind != "qa":
        raise UsageError(f"--question: this is a {kind} model and answers no questions; give --text.")
    if options.text is not None and kind == "qa":
        raise UsageError("--text: this is a question answering model; give --question and --context.")
    if options.text_pair is not None and not found.head.has_classifier:
        raise UsageError(f"--text_pair: this is a {kind} model and takes one text at a time.")


def read_single(options: DeployOptions) -> list[str]:
    """The texts, or the one context, that the flags give; "-" stands for standard input."""
    if options.question is not None:
        found = [sys.stdin.read() if options.context == "-" else options.context or ""]
    else:
        found = [line.rstrip("\n") for line in sys.stdin] if options.text == "-" else [options.text or ""]
    found = [text for text in found if text.strip()]
    if not found:
        raise UsageError(f"--{'text' if options.question is None else 'context'}: there is no text in it.")
    return found
