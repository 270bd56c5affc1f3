"""Every command: its name, where its code and its options are, what it does.

A name is a word, as ``serve``, or two, as ``finetune squad``: the first of two is a group, which has no code of its
own. The help of ``bertpass``, the page of flags and the completion of shells are made from this table.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bertpass.errors import UsageError, nearest, unknown
from bertpass.words import program

HELP, VERSION = ("-h", "--help", "help"), ("-V", "--version", "version")
#: words of ``bertpass`` itself, for the nearest name of an unknown one
GENERAL = (*HELP, *VERSION)


@dataclass(frozen=True)
class Command:
    """One command; ``main`` and ``options`` are MODULE:NAME under bertpass, ``options`` a dataclass."""

    main: str
    options: str
    what: str
    published: str = ""  #: script of the published recipe that is the same command

    def run(self, name: str, words: Sequence[str]) -> int:
        """Run it with these words; returns the exit code."""
        with program(name):
            return int(_named(self.main)(words))

    def options_class(self) -> type:
        """The dataclass of its words and flags."""
        found: type = _named(self.options)
        return found


@dataclass(frozen=True)
class Group:
    """Commands under one first word. A second word that is like ``implied[0]`` means the command ``implied[1]``."""

    what: str
    words: Mapping[str, Command]
    implied: tuple[str, str] | None = None


def _named(place: str):  # type: ignore[no-untyped-def]
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"bertpass.{module}"), name)


FINETUNE = Group("fine-tune a model", {
    "classifier": Command("commands.make.finetune:classifier", "jobs.training.classify:ClassifierOptions",
                          "fine-tune for every task but question answering", "finetune/finetune_classifier.py"),
    "squad": Command("commands.make.finetune:squad", "jobs.training.squad:SquadOptions",
                     "fine-tune for question answering", "finetune/finetune_squad.py"),
    "embeddings": Command("commands.make.finetune:embeddings", "jobs.training.embeddings:EmbeddingOptions",
                          "fine-tune a model of sentence vectors"),
})

BENCH = Group("compare engines, precisions, passes, servers", {
    "cpu": Command("commands.bench.cpu:main", "commands.bench.cpu:CpuOptions", "every CPU engine on the same weights"),
    "finetuning": Command("commands.bench.finetuning:main", "commands.bench.finetuning:FinetuningOptions",
                          "fine-tuning against a PyTorch control"),
    "gpu": Command("commands.bench.gpu:main", "bench.gpu.check:GpuOptions",
                   "build, check and measure the CUDA engine on this machine's GPU"),
    "kernels": Command("commands.bench.kernels:main", "commands.bench.kernels:KernelOptions",
                       "kernels of the CPU engine against references and the machine's ceilings"),
    "passes": Command("commands.bench.passes:main", "commands.bench.passes:PassesOptions",
                      "every graph pass against plain MXNet"),
    "precision": Command("commands.bench.precision:main", "jobs.low_precision.options:TableOptions",
                         "what low precision costs a fine-tuned model"),
    "report": Command("commands.bench.report:main", "commands.bench.report:ReportOptions", "result files as one page"),
    "routing": Command("commands.bench.routing:main", "commands.bench.routing:RoutingOptions",
                       "requests sent to instances by their length"),
    "scaling": Command("commands.bench.scaling:main", "commands.bench.scaling:ScalingOptions",
                       "cores, threads and instances"),
    "serving": Command("commands.bench.serving:main", "commands.bench.serving:ServingOptions",
                       "the server under load, next to other servers"),
    "sweep": Command("commands.bench.sweep:main", "bench.cpu.sweep:SweepOptions",
                     "every combination of models, engines and batches, in Hydra's words: batch_size=1,8"),
}, implied=(r"[~+]|[A-Za-z_][\w.]*=|--multirun$|-m$", "sweep"))

#: heading of the help -> its commands and groups
SECTIONS: Mapping[str, Mapping[str, Command | Group]] = {
    "start here": {
        "embed": Command("commands.start.embed:main", "commands.start.embed:EmbedOptions",
                         "sentence vectors of texts or of a file of texts"),
        "predict": Command("commands.start.predict:main", "commands.start.predict:PredictOptions",
                           "labels, values, answers or entities of texts"),
        "info": Command("commands.start.info:main", "commands.start.info:InfoOptions",
                        "what a model is: family, head, labels, length, pooling"),
        "download": Command("commands.start.download:main", "commands.start.download:DownloadOptions",
                            "the weights of minilm or mpnet, into the cache folder"),
        "serve": Command("commands.start.serve:main", "serving.options:ServeOptions", "models over HTTP"),
    },
    "make a model": {
        "finetune": FINETUNE,
        "deploy": Command("commands.make.deploy:main", "jobs.deployment.options:DeployOptions",
                          "export a model with MXNet, apply the graph passes, evaluate and time it", "deploy.py"),
        "new-model": Command("commands.make.new_model:main", "commands.make.new_model:NewModelOptions",
                             "a small model of random weights with a vocabulary for your texts"),
    },
    "files of a model": {
        "convert": Command("commands.files.convert:main", "commands.files.convert:ConvertOptions",
                           "write a model in another layout: Hugging Face, GluonNLP, bundle"),
        "pack": Command("commands.files.pack:main", "commands.files.pack:PackOptions",
                        "write a model as one file that loads at once"),
        "export": Command("commands.files.export:main", "commands.files.export:ExportOptions",
                          "write a model for ONNX Runtime, OpenVINO, PyTorch or TVM"),
        "optimize": Command("commands.files.optimize:main", "commands.files.optimize:OptimizeOptions",
                            "apply MXNet graph passes to an exported model"),
        "tune": Command("commands.files.tune:main", "commands.files.tune:TuneOptions",
                        "search the fastest schedules of the TVM engine on this machine"),
    },
    "in production": {
        "batch": Command("commands.production.batch:main", "commands.production.batch:BatchOptions",
                         "results for each row of a large file, also on a Ray cluster"),
        "launch": Command("commands.production.launch:main", "commands.production.launch:LaunchOptions",
                          "run a program as several instances on cores of their own"),
        "load": Command("commands.production.load:main", "commands.production.load:LoadOptions",
                        "load test: send requests to a server and time the answers"),
        "plan": Command("commands.production.plan:main", "commands.production.plan:PlanOptions",
                        "what a million requests cost, from measured results and prices"),
    },
    "measure": {
        "bench": BENCH,
        "compare": Command("commands.measure.compare:main", "commands.measure.compare:CompareOptions",
                           "compare two result files of one bench"),
        "reproduce": Command("commands.measure.reproduce:main", "commands.measure.reproduce:ReproduceOptions",
                             "published tables and figures next to what this machine measures"),
    },
    "this installation": {
        "env": Command("commands.here.env:main", "commands.here.env:EnvOptions",
                       "what this machine and this installation have, and what is missing"),
        "completion": Command("commands.here.completion:main", "commands.here.completion:CompletionOptions",
                              "completion of commands and flags for bash, zsh or fish"),
        "demo": Command("commands.here.demo:main", "commands.here.demo:DemoOptions",
                        "fine-tune, deploy and use MiniLM on real reviews"),
        "demo-serve": Command("commands.here.demo_serve:main", "commands.here.demo_serve:DemoServeOptions",
                              "serve MiniLM and the model of make demo, ask them over HTTP"),
    },
}

#: first word -> command or group, in the order of the help
FIRST: Mapping[str, Command | Group] = {name: one for section in SECTIONS.values() for name, one in section.items()}

#: other spellings, which the help leaves out
ALIASES = {"load-test": "load", "finetune-classifier": "finetune classifier", "finetune-squad": "finetune squad"}


def commands() -> Iterator[tuple[str, Command]]:
    """Every command with its whole name, as ``finetune squad``, in the order of the help."""
    for name, one in FIRST.items():
        if isinstance(one, Command):
            yield name, one
        else:
            yield from ((f"{name} {word}", command) for word, command in one.words.items())


def find(words: Sequence[str]) -> tuple[str, Command | Group, list[str]]:
    """The name that a command line begins with, what it names, and the words after it.

    It is a group only where a word for help, or none, stands after its name.

    Raises
    ------
    UsageError
        The name, or a group's word, is unknown or missing.
    """
    spelled = words[0].replace("_", "-") if not words[0].startswith("-") else words[0]
    name, *rest = [*ALIASES.get(spelled, spelled).split(), *words[1:]]
    if name not in FIRST:
        raise UsageError(f"unknown command '{words[0]}'.{nearest(words[0], [*FIRST, *ALIASES, *GENERAL])} "
                         f"bertpass --help lists the commands: {', '.join(FIRST)}.")
    one = FIRST[name]
    if isinstance(one, Command) or not rest or rest[0] in HELP:
        return name, one, rest
    word, after = rest[0], rest[1:]
    if word not in one.words and one.implied is not None and re.match(one.implied[0], word):
        word, after = one.implied[1], rest
    if word.startswith("-"):
        raise UsageError(f"bertpass {name}: a word has to stand before the flags; one of {', '.join(one.words)}.")
    if word not in one.words:
        raise UsageError(unknown(f"word of bertpass {name}", word, one.words))
    return f"{name} {word}", one.words[word], after
